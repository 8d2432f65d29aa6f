package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/internal/pgfault"
)

// PanicError is the verdict of a job whose Apply panicked.
type PanicError struct {
	Value any
	Stack string
}

// Error implements error.
func (p *PanicError) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// flush gives every entry of the batch its verdict. The last resort covers the
// engine's own code: a panic there, too, must leave nobody waiting.
func (e *Engine[T]) flush(batch []*entry[T]) {
	defer func() {
		if value := recover(); value != nil {
			e.options.Logger.Error("group commit panicked", slog.Any("panic", value), slog.String("stack", string(debug.Stack())))
			e.answer(batch, &PanicError{Value: value, Stack: string(debug.Stack())})
			e.report(batch, len(batch))
		}
	}()
	e.counts.batches.Add(1)
	e.report(batch, e.commit(batch, time.Now().Add(e.options.RetryFor)).ownFaults)
}

// report tells the breaker of a batch; a lone job is none.
func (e *Engine[T]) report(batch []*entry[T], ownFaults int) {
	if len(batch) > 1 {
		e.breaker.report(len(batch), ownFaults)
	}
}

// tally is how the jobs of a batch fared, as far as the breaker is concerned.
type tally struct {
	committed int
	ownFaults int // jobs that failed, or were run again, for reasons of the engine's own
}

// commit runs the batch until each entry has its verdict:
//
//   - jobs that another process took over leave it, the rest runs again;
//   - a transient fault runs it again with back-off until giveUp, then snoozes
//     all without spending an attempt;
//   - refused data, or a panic, splits it in halves, down to the one guilty
//     job; among n jobs one culprit costs at most 2·log₂ n + 1 more transactions;
//   - a snooze that Apply asks for is every job's;
//   - any other error is every job's own.
//
// An error that is every job's own is the engine's, as far as the breaker is
// concerned: neither the database's state nor refused data explains it. So is
// one of which bisection finds nobody guilty.
func (e *Engine[T]) commit(batch []*entry[T], giveUp time.Time) tally {
	refused := false
	for try := 1; ; try++ {
		batch = e.dropWithdrawn(batch)
		if len(batch) == 0 {
			return tally{}
		}
		err := e.transact(batch, e.kind.Apply)
		if len(batch) == 1 && err != nil && pgfault.Of(err) == pgfault.Data {
			refused = true
			err = e.salvage(batch, err)
		}
		var lost *notHeldError
		switch {
		case err == nil:
			e.countCommitted(batch)
			e.answer(batch, nil)
			if refused {
				return tally{} // salvaged
			}
			return tally{committed: len(batch)}
		case errors.As(err, &lost):
			batch = e.dropNotHeld(batch, lost)
		case isSnooze(err):
			e.counts.snoozed.Add(int64(len(batch)))
			e.settle(batch, err)
			return tally{}
		case pgfault.Of(err) == pgfault.Transient:
			if time.Now().After(giveUp) {
				e.options.Logger.Warn("batch snoozed, the database stays out of reach",
					slog.Int("jobs", len(batch)), slog.Int("tries", try), slog.String("error", err.Error()))
				e.counts.snoozed.Add(int64(len(batch)))
				e.settle(batch, fmt.Errorf("%s: %w", err.Error(), river.JobSnooze(e.options.SnoozeFor)))
				return tally{}
			}
			e.counts.retries.Add(1)
			e.backOff(try, batch)
		case !ofOneJob(err):
			e.fail(batch, err)
			return tally{ownFaults: len(batch)}
		case len(batch) == 1:
			e.fail(batch, err)
			return tally{}
		default:
			return e.bisect(batch, giveUp)
		}
	}
}

func (e *Engine[T]) countCommitted(batch []*entry[T]) {
	e.counts.committed.Add(int64(len(batch)))
	now := time.Now()
	for _, en := range batch {
		e.observer.Committed(now.Sub(en.job.CreatedAt))
	}
}

func isSnooze(err error) bool {
	var snooze *rivertype.JobSnoozeError
	return errors.As(err, &snooze)
}

// ofOneJob tells whether the error is of some job of the batch, not of all.
func ofOneJob(err error) bool {
	var panicked *PanicError
	return pgfault.Of(err) == pgfault.Data || errors.As(err, &panicked)
}

func (e *Engine[T]) bisect(batch []*entry[T], giveUp time.Time) tally {
	e.counts.bisections.Add(1)
	half := len(batch) / 2
	first, second := e.commit(batch[:half], giveUp), e.commit(batch[half:], giveUp)
	sum := tally{committed: first.committed + second.committed, ownFaults: first.ownFaults + second.ownFaults}
	if sum.committed == len(batch) {
		sum.ownFaults = len(batch) // no job is guilty: their being together was
	}
	return sum
}

// salvage runs the kind's Salvage, if it has one, for the one job that was
// refused. It returns nil when that committed, what happened when it was
// nobody's fault or the job is not held, and otherwise the refusal. Taking too
// long is the job's fault: it would take as long again.
func (e *Engine[T]) salvage(batch []*entry[T], refusal error) error {
	if e.kind.Salvage == nil {
		return refusal
	}
	started := time.Now()
	err := e.transact(batch, e.kind.Salvage)
	tookTooLong := time.Since(started) >= e.options.FlushTimeout
	var lost *notHeldError
	switch {
	case err == nil, errors.As(err, &lost):
		return err
	case pgfault.Of(err) == pgfault.Transient && !tookTooLong:
		return err
	case !errors.Is(err, ErrNotSalvaged):
		e.options.Logger.Warn("job not salvaged", slog.Int64("job_id", batch[0].job.ID), slog.String("error", err.Error()))
	}
	return refusal
}

// fail gives each entry the error as its own, written and fenced.
func (e *Engine[T]) fail(batch []*entry[T], err error) {
	attributes := []any{slog.Int64("job_id", batch[0].job.ID), slog.Int("jobs", len(batch)), slog.String("kind", batch[0].job.Kind), slog.String("error", err.Error())}
	if panicked := (*PanicError)(nil); errors.As(err, &panicked) {
		attributes = append(attributes, slog.String("stack", panicked.Stack))
	}
	e.options.Logger.Warn("job failed", attributes...)
	e.counts.failed.Add(int64(len(batch)))
	e.settle(batch, err)
}

// transact runs one transaction: apply, complete, commit.
func (e *Engine[T]) transact(batch []*entry[T], apply Apply[T]) (err error) {
	e.counts.transactions.Add(1)
	tx, began := &countingTx{roundTrips: 1}, time.Now()
	defer func() {
		told := err
		if lost := (*notHeldError)(nil); errors.As(err, &lost) {
			told = ErrTakenOver
		}
		e.observer.Transacted(Transaction{Jobs: len(batch), Took: time.Since(began), RoundTrips: tx.roundTrips, Err: told})
	}()
	return e.transactIn(tx, batch, apply)
}

// transactIn runs on its own deadline, not on any job's context.
func (e *Engine[T]) transactIn(tx *countingTx, batch []*entry[T], apply Apply[T]) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), e.options.FlushTimeout)
	defer cancel()
	if tx.Tx, err = e.db.Begin(ctx); err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	jobs := make([]*river.Job[T], len(batch))
	holds := make([]Hold, len(batch))
	for i, en := range batch {
		jobs[i], holds[i] = en.job, HoldOf(en.job.JobRow)
	}
	if err := applySafely(ctx, tx, jobs, apply); err != nil {
		return err
	}
	if err := Complete(ctx, tx, e.options.RiverSchema, holds); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

func applySafely[T river.JobArgs](ctx context.Context, tx pgx.Tx, jobs []*river.Job[T], apply Apply[T]) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: string(debug.Stack())}
		}
	}()
	return apply(ctx, tx, jobs)
}

// dropWithdrawn answers the entries whose contexts ended; no transaction holds
// them at this point.
func (e *Engine[T]) dropWithdrawn(batch []*entry[T]) []*entry[T] {
	return e.keep(batch, func(en *entry[T]) (error, bool) {
		select {
		case <-en.withdrawn:
			return errWithdrawn, false
		default:
			return nil, true
		}
	})
}

// dropNotHeld answers the entries that this process does not hold: nil for
// those that an earlier try committed although its connection broke before it
// could say so, ErrTakenOver for those that now belong to somebody else.
func (e *Engine[T]) dropNotHeld(batch []*entry[T], lost *notHeldError) []*entry[T] {
	takenOver := 0
	held := e.keep(batch, func(en *entry[T]) (error, bool) {
		committed, notHeld := lost.attempts[HoldOf(en.job.JobRow)]
		switch {
		case !notHeld:
			return nil, true
		case committed:
			e.countCommitted([]*entry[T]{en})
			return nil, false
		default:
			takenOver++
			return ErrTakenOver, false
		}
	})
	if takenOver > 0 {
		e.counts.takenOver.Add(int64(takenOver))
		e.options.Logger.Warn("jobs were taken over by another process, nothing of these attempts is kept",
			slog.Int("jobs", takenOver), slog.Int("of_batch", len(batch)))
	}
	return held
}

// keep returns the entries for which judge says so and answers the others.
func (e *Engine[T]) keep(batch []*entry[T], judge func(*entry[T]) (error, bool)) []*entry[T] {
	kept := make([]*entry[T], 0, len(batch))
	for _, en := range batch {
		if verdict, stays := judge(en); stays {
			kept = append(kept, en)
		} else {
			e.answer([]*entry[T]{en}, verdict)
		}
	}
	return kept
}

// answer gives each entry that has no verdict yet this one.
func (e *Engine[T]) answer(batch []*entry[T], verdict error) {
	for _, en := range batch {
		if !en.answered {
			en.answered = true
			en.verdict <- verdict
		}
	}
}

// backOff sleeps 10 ms doubling to at most a second, with jitter, or until
// every job of the batch was withdrawn.
func (e *Engine[T]) backOff(try int, batch []*entry[T]) {
	longest := min(time.Second, 10*time.Millisecond<<min(try, 10))
	timer := time.NewTimer(longest/4 + rand.N(longest*3/4))
	defer timer.Stop()
	for _, en := range batch {
		select {
		case <-en.withdrawn:
		case <-timer.C:
			return
		}
	}
}
