package groupcommit

import "sync/atomic"

// Stats counts what an engine did since it was made.
type Stats struct {
	Batches      int64 `json:"batches"`      // collected
	Transactions int64 `json:"transactions"` // begun, including those rolled back
	Committed    int64 `json:"committed"`    // jobs
	Failed       int64 `json:"failed"`       // jobs with an error of their own
	Cancelled    int64 `json:"cancelled"`    // of those: will not be tried again, by their own word
	Discarded    int64 `json:"discarded"`    // of those: will not be tried again, that was the last attempt
	Snoozed      int64 `json:"snoozed"`      // jobs given back without spending an attempt: the database stayed out of reach, or Apply asked for it
	TakenOver    int64 `json:"taken_over"`   // jobs that another process had
	Retries      int64 `json:"retries"`      // transactions run again through nobody's fault
	Bisections   int64 `json:"bisections"`   // batches split in search of a guilty job

	Circuit string `json:"circuit"` // closed: batching; open: one job per transaction; half-open: a batch is on trial
}

type counters struct {
	batches, transactions, committed, failed, cancelled, discarded, snoozed, takenOver, retries, bisections atomic.Int64
}

// Stats returns the counts so far.
func (e *Engine[T]) Stats() Stats {
	return Stats{
		Batches:      e.counts.batches.Load(),
		Transactions: e.counts.transactions.Load(),
		Committed:    e.counts.committed.Load(),
		Failed:       e.counts.failed.Load(),
		Cancelled:    e.counts.cancelled.Load(),
		Discarded:    e.counts.discarded.Load(),
		Snoozed:      e.counts.snoozed.Load(),
		TakenOver:    e.counts.takenOver.Load(),
		Retries:      e.counts.retries.Load(),
		Bisections:   e.counts.bisections.Load(),
		Circuit:      e.breaker.current(),
	}
}

// Plus adds the counts of two engines. The circuit is that of the worse one.
func (s Stats) Plus(o Stats) Stats {
	circuit := s.Circuit
	if circuit == string(closed) {
		circuit = o.Circuit
	}
	return Stats{
		Batches:      s.Batches + o.Batches,
		Transactions: s.Transactions + o.Transactions,
		Committed:    s.Committed + o.Committed,
		Failed:       s.Failed + o.Failed,
		Cancelled:    s.Cancelled + o.Cancelled,
		Discarded:    s.Discarded + o.Discarded,
		Snoozed:      s.Snoozed + o.Snoozed,
		TakenOver:    s.TakenOver + o.TakenOver,
		Retries:      s.Retries + o.Retries,
		Bisections:   s.Bisections + o.Bisections,
		Circuit:      circuit,
	}
}
