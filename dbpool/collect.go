package dbpool

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Querier runs queries: a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Collect returns all rows of a query, never nil without an error. act is the prefix of
// the error.
func Collect[T any](ctx context.Context, db Querier, act string, row pgx.RowToFunc[T], query string, args ...any) ([]T, error) {
	rows, _ := db.Query(ctx, query, args...)
	all, err := pgx.CollectRows(rows, row)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", act, err)
	}
	return all, nil
}

// CollectOne is Collect for a query that returns one row.
func CollectOne[T any](ctx context.Context, db Querier, act string, row pgx.RowToFunc[T], query string, args ...any) (one T, err error) {
	rows, _ := db.Query(ctx, query, args...)
	if one, err = pgx.CollectExactlyOneRow(rows, row); err != nil {
		return one, fmt.Errorf("%s: %w", act, err)
	}
	return one, nil
}

// Into reads the rows of a batch's query into a slice, which is then not nil. The columns
// are the fields of T, in order.
func Into[T any](all *[]T) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*all, err = pgx.CollectRows(rows, pgx.RowToStructByPos[T])
		return err
	}
}
