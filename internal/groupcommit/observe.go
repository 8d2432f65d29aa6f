package groupcommit

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// FillReason is why a batch was closed.
type FillReason string

// The reasons.
const (
	FilledJobs     FillReason = "jobs"     // MaxBatch
	FilledWeight   FillReason = "weight"   // MaxWeight
	FilledLinger   FillReason = "linger"   // its oldest job had waited for Linger
	FilledEveryone FillReason = "everyone" // no executing job was left to wait for
	FilledAlone    FillReason = "alone"    // batching was off for it
)

// FillReasons are all of them.
var FillReasons = []FillReason{FilledJobs, FilledWeight, FilledLinger, FilledEveryone, FilledAlone}

// Transaction is one try of a batch, or of a part of it.
type Transaction struct {
	Jobs       int
	Took       time.Duration // from asking for a connection to the answer to COMMIT
	RoundTrips int           // BEGIN and COMMIT included, preparing of statements left out
	Err        error         // nil when it committed, ErrTakenOver when not all of its jobs were held
}

// Observer is told what an engine does, while it does it. Its methods are
// called by several goroutines at once, and must neither block nor call the
// engine.
type Observer interface {
	// Collected tells that a batch was closed.
	Collected(jobs int, reason FillReason)
	// Transacted tells how a transaction ended.
	Transacted(Transaction)
	// Committed tells of one job how long ago it was inserted, as far as this
	// machine's clock agrees with the database's.
	Committed(latency time.Duration)
}

// unobserved is the Observer of an engine that has none.
type unobserved struct{}

func (unobserved) Collected(int, FillReason) {}
func (unobserved) Transacted(Transaction)    {}
func (unobserved) Committed(time.Duration)   {}

// countingTx counts the round trips of a transaction.
type countingTx struct {
	pgx.Tx
	roundTrips int
}

// Exec implements pgx.Tx.
func (tx *countingTx) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	tx.roundTrips++
	return tx.Tx.Exec(ctx, sql, args...)
}

// Query implements pgx.Tx.
func (tx *countingTx) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	tx.roundTrips++
	return tx.Tx.Query(ctx, sql, args...)
}

// QueryRow implements pgx.Tx.
func (tx *countingTx) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	tx.roundTrips++
	return tx.Tx.QueryRow(ctx, sql, args...)
}

// SendBatch implements pgx.Tx.
func (tx *countingTx) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	tx.roundTrips++
	return tx.Tx.SendBatch(ctx, b)
}

// CopyFrom implements pgx.Tx.
func (tx *countingTx) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, rows pgx.CopyFromSource) (int64, error) {
	tx.roundTrips++
	return tx.Tx.CopyFrom(ctx, table, columns, rows)
}

// Commit implements pgx.Tx.
func (tx *countingTx) Commit(ctx context.Context) error {
	tx.roundTrips++
	return tx.Tx.Commit(ctx)
}
