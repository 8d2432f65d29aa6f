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
	Failures   int           // attempts that ended with an error of the job's own
	Took       time.Duration // from asking for a connection to the answer to COMMIT
	RoundTrips int           // BEGIN and COMMIT included, preparing of statements left out
	Savepoints int
	Err        error // nil when it committed
}

// Observer is notified of what a lane does. Its methods are called by several
// goroutines at once, and must neither block nor call the lane.
type Observer interface {
	// Transacted reports how a transaction ended.
	Transacted(Transaction)
	// Committed reports of one job how long ago it was inserted, as far as this
	// machine's clock agrees with the database's.
	Committed(latency time.Duration)
}

type unobserved struct{}

func (unobserved) Transacted(Transaction)  {}
func (unobserved) Committed(time.Duration) {}

// Stats counts what a lane did since it was made.
type Stats struct {
	Transactions int64 `json:"transactions"` // that found jobs, or failed
	Committed    int64 `json:"committed"`    // jobs
	Failed       int64 `json:"failed"`       // attempts that ended with an error of the job's own
	Cancelled    int64 `json:"cancelled"`    // of those: will not be tried again, trying cannot help
	Discarded    int64 `json:"discarded"`    // of those: will not be tried again, that was the last attempt
	Retries      int64 `json:"retries"`      // transactions that failed through no job's fault
	Bisections   int64 `json:"bisections"`   // groups of jobs that were split in search of the one to blame
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

// Status is how a lane gets on.
type Status struct {
	Queue     string
	LastClaim time.Time // the newest that the database answered, empty ones and checks included; zero for none
	LastJob   time.Time // the newest that found jobs
	Fault     error     // of the lane's own, so that it stands still; nil for none
}

// Status returns how the lane gets on.
func (l *Lane[T]) Status() Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Status{Queue: l.options.Queue, LastClaim: l.lastClaim, LastJob: l.lastJob, Fault: l.fault}
}

// Active reports whether jobs were found within the given time.
func (l *Lane[T]) Active(within time.Duration) bool { return time.Since(l.Status().LastJob) < within }

// countingTx counts the round trips of a transaction and notes when the first
// batch of a try is sent.
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
