package groupcommit

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// settleTime is how long no job may have arrived before "every executing job is
// waiting" is believed: a fetch hands its jobs to goroutines that need a moment
// to start.
const settleTime = 300 * time.Microsecond

// Middleware counts a job as executing from the moment River starts it, so that
// the engine knows for whom it is worth waiting. A worker returns it from its
// Middleware method; without it only MaxBatch, Linger and the pause after the
// last arrival end a batch.
func (e *Engine[T]) Middleware() rivertype.WorkerMiddleware {
	return river.WorkerMiddlewareFunc(func(ctx context.Context, _ *rivertype.JobRow, work func(context.Context) error) error {
		e.countExecuting(1)
		defer e.countExecuting(-1)
		return work(ctx)
	})
}

func (e *Engine[T]) countExecuting(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.executing += n
	if n < 0 && e.collecting {
		e.signal() // one job fewer to wait for
	}
}

// committer commits batches until there is nothing left to collect, or somebody
// else is collecting it.
func (e *Engine[T]) committer() {
	for {
		batch := e.nextBatch()
		if batch == nil {
			return
		}
		shard := batch[0].shard
		e.flushInTurn(batch)
		e.mu.Lock()
		e.committing -= len(batch)
		e.shards[shard]--
		e.mu.Unlock()
	}
}

func (e *Engine[T]) flushInTurn(batch []*entry[T]) {
	if e.options.Gate != nil {
		e.options.Gate.Lock()
		defer e.options.Gate.Unlock()
	}
	e.flush(batch)
}

// nextBatch waits until a batch is worth committing and takes it, in ascending
// order of job ids. nil ends the calling committer. Only one committer collects
// at a time; otherwise idle ones would tear a burst of jobs into small batches.
func (e *Engine[T]) nextBatch() []*entry[T] {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.collecting {
		e.committers--
		return nil
	}
	e.collecting = true
	reason := e.gather()
	e.collecting = false

	batch, together := e.take()
	if len(batch) == 0 {
		e.committers--
		return nil
	}
	if !together {
		reason = FilledAlone
	}
	e.observer.Collected(len(batch), reason)
	e.committing += len(batch)
	if len(e.waiting) > 0 && e.committers < e.options.Committers {
		e.committers++
		go e.committer()
	}
	slices.SortFunc(batch, func(a, b *entry[T]) int { return cmp.Compare(a.job.ID, b.job.ID) })
	e.shards[batch[0].shard]++
	return batch
}

// take removes the oldest waiting entry and those behind it that fit into one
// transaction with it: none when it goes alone or batching is off, when they
// are not together. Under a backlog they are of one shard, and the oldest is of
// one that no other transaction is of, if there is any.
func (e *Engine[T]) take() (batch []*entry[T], together bool) {
	if len(e.waiting) == 0 {
		return nil, false
	}
	full := max(len(e.waiting), e.weight) >= e.options.MaxBatch
	if full {
		e.lastFull = time.Now()
	}
	backlog := full && e.kind.Shard != nil
	first := 0
	if backlog {
		first = max(0, slices.IndexFunc(e.waiting, func(en *entry[T]) bool { return e.shards[en.shard] == 0 }))
	}
	oldest := e.waiting[first]
	batch, weight := []*entry[T]{oldest}, oldest.weight
	left := e.waiting[:0]
	together = !oldest.alone && e.breaker.allow()
	for i, en := range e.waiting {
		if i == first {
			continue
		}
		if together && !en.alone && (!backlog || en.shard == oldest.shard) && len(batch) < e.options.MaxBatch && weight+en.weight <= e.options.MaxWeight {
			batch, weight = append(batch, en), weight+en.weight
		} else {
			left = append(left, en)
		}
	}
	if together && len(batch) == 1 {
		e.breaker.noTrial()
	}
	clear(e.waiting[len(left):])
	e.waiting = left
	e.weight -= weight
	return batch, together
}

// askAgain is how often a patient batch asks whether it has to go on waiting.
const askAgain = 10 * time.Millisecond

func (e *Engine[T]) patience() time.Duration {
	if e.options.Patience == nil {
		return 0
	}
	return e.options.Patience()
}

// gather returns, holding e.mu as on entry, as soon as the batch is full, the
// oldest job goes alone or its linger is over, every executing job is already in
// the engine, or nobody waits any more. It tells which.
func (e *Engine[T]) gather() FillReason {
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	settledAt := time.Now().Add(settleTime)
	for len(e.waiting) > 0 && !e.waiting[0].alone && len(e.waiting) < e.options.MaxBatch && e.weight < e.options.MaxWeight {
		wait, reason := time.Until(e.waiting[0].since.Add(e.options.Linger)), FilledLinger
		if patient := time.Until(e.waiting[0].since.Add(e.patience())); patient > 0 {
			wait = min(patient, askAgain)
		} else if settles := time.Until(settledAt); e.executing <= len(e.waiting)+e.committing && settles < wait {
			wait, reason = settles, FilledEveryone
		}
		if wait <= 0 {
			return reason
		}
		timer.Reset(wait)
		seen := len(e.waiting)
		e.mu.Unlock()
		select {
		case <-e.arrived:
		case <-timer.C:
		}
		e.mu.Lock()
		if len(e.waiting) != seen {
			settledAt = time.Now().Add(settleTime)
		}
	}
	if len(e.waiting) >= e.options.MaxBatch {
		return FilledJobs
	}
	return FilledWeight
}
