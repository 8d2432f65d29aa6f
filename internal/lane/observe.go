package lane

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Transaction is one turn that found jobs, or failed.
type Transaction struct {
	Jobs       int           // completed
	Failures   int           // attempts that failed because of the job
	Took       time.Duration // from the request for a connection to the answer to COMMIT
	RoundTrips int           // including BEGIN and COMMIT, without preparing statements
	Savepoints int
	Err        error // nil if it committed
}

// Observer is notified of a lane's transactions. Its methods are called
// concurrently, and must neither block nor call the lane.
type Observer interface {
	// Transacted is called when a transaction has ended.
	Transacted(Transaction)
	// Committed is called for each completed job, with the time since it was inserted.
	Committed(latency time.Duration)
}

type unobserved struct{}

func (unobserved) Transacted(Transaction)  {}
func (unobserved) Committed(time.Duration) {}

// Stats counts what a lane has done since New.
type Stats struct {
	Transactions int64 `json:"transactions"` // that found jobs, or failed
	Committed    int64 `json:"committed"`    // jobs
	Failed       int64 `json:"failed"`       // attempts that failed because of the job
	Cancelled    int64 `json:"cancelled"`    // of those: not retried, because a retry cannot help
	Discarded    int64 `json:"discarded"`    // of those: not retried, after the last attempt
	Retries      int64 `json:"retries"`      // transactions that failed for no job's fault
	Bisections   int64 `json:"bisections"`   // groups of jobs that were split to isolate a poison job
}

type counters struct {
	transactions, committed, failed, cancelled, discarded, retries, bisections atomic.Int64
}

// Stats returns the counts so far.
func (l *Lane[T]) Stats() Stats {
	return Stats{
		Transactions: l.counts.transactions.Load(),
		Committed:    l.counts.committed.Load(),
		Failed:       l.counts.failed.Load(),
		Cancelled:    l.counts.cancelled.Load(),
		Discarded:    l.counts.discarded.Load(),
		Retries:      l.counts.retries.Load(),
		Bisections:   l.counts.bisections.Load(),
	}
}

// Plus adds the counts of two lanes.
func (s Stats) Plus(o Stats) Stats {
	return Stats{
		Transactions: s.Transactions + o.Transactions,
		Committed:    s.Committed + o.Committed,
		Failed:       s.Failed + o.Failed,
		Cancelled:    s.Cancelled + o.Cancelled,
		Discarded:    s.Discarded + o.Discarded,
		Retries:      s.Retries + o.Retries,
		Bisections:   s.Bisections + o.Bisections,
	}
}

// Status is the condition of a lane.
type Status struct {
	Queue     string
	LastClaim time.Time // the latest that the database answered, including empty ones and checks; zero for none
	LastJob   time.Time // the latest that found jobs
	Fault     error     // that stalls the lane; nil for none
}

// Status returns the lane's condition.
func (l *Lane[T]) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Status{Queue: l.options.Queue, LastClaim: l.lastClaim, LastJob: l.lastJob, Fault: l.fault}
}

// Active reports whether jobs were found within the given time.
func (l *Lane[T]) Active(within time.Duration) bool { return time.Since(l.Status().LastJob) < within }

// countingTx counts a transaction's round trips and records whether the first
// batch of a try was sent.
type countingTx struct {
	pgx.Tx
	roundTrips int
	first      *pgx.Batch
	firstSent  bool
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
	tx.firstSent = tx.firstSent || b == tx.first
	return tx.Tx.SendBatch(ctx, b)
}

// Commit implements pgx.Tx.
func (tx *countingTx) Commit(ctx context.Context) error {
	tx.roundTrips++
	return tx.Tx.Commit(ctx)
}
