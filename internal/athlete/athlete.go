// Package athlete reads what is known of an athlete: the days with their ACWR and
// how far to trust them, likely doubles, how stored values differ from others, and
// the heart rates and time zone that the application has. It shows days as JSON, as a
// table, and as a small chart on a terminal.
//
// Rule: it only reads.
package athlete

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Querier is a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
