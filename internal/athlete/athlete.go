// Package athlete reads the data of an athlete: days with their ACWR and its quality,
// likely doubles, comparisons of stored with recomputed values, and the heart rates and
// time zone in the application's settings. It shows days as JSON, as a table, and as a
// small chart on a terminal.
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
