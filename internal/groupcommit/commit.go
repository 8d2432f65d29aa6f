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
			e.breaker.report(len(batch), len(batch))
		}
	}()
	e.counts.batches.Add(1)
	ownFaults := e.commit(batch, time.Now().Add(e.options.RetryFor))
	if len(batch) > 1 {
		e.breaker.report(len(batch), ownFaults)
	}
}

// commit runs the batch until each entry has its verdict:
//
//   - jobs that another process took over leave it, the rest runs again;
//   - a transient fault runs it again with back-off until giveUp, then snoozes
//     all without spending an attempt;
//   - refused data, or a panic, splits it in halves, down to the one guilty
//     job; among n jobs one culprit costs at most 2·log₂ n + 1 more transactions;
//   - any other error is every job's own.
//
// It returns how many jobs failed for reasons of the engine's own: neither the
// database's state nor refused data.
func (e *Engine[T]) commit(batch []*entry[T], giveUp time.Time) (ownFaults int) {
	for try := 1; ; try++ {
		batch = e.dropWithdrawn(batch)
		if len(batch) == 0 {
			return ownFaults
		}
		err := e.transact(batch, e.kind.Apply)
		var lost *notHeldError
		var panicked *PanicError
		switch {
		case err == nil:
			e.counts.committed.Add(int64(len(batch)))
			e.answer(batch, nil)
			return ownFaults
		case errors.As(err, &lost):
			batch = e.dropNotHeld(batch, lost)
		case pgfault.Of(err) == pgfault.Transient:
			if time.Now().After(giveUp) {
				e.options.Logger.Warn("batch snoozed, the database stays out of reach",
					slog.Int("jobs", len(batch)), slog.Int("tries", try), slog.String("error", err.Error()))
				e.counts.snoozed.Add(int64(len(batch)))
				e.settle(batch, fmt.Errorf("%s: %w", err.Error(), river.JobSnooze(e.options.SnoozeFor)))
				return ownFaults
			}
			e.counts.retries.Add(1)
			e.backOff(try, batch)
		case len(batch) > 1 && (pgfault.Of(err) == pgfault.Data || errors.As(err, &panicked)):
			e.counts.bisections.Add(1)
			half := len(batch) / 2
			return e.commit(batch[:half], giveUp) + e.commit(batch[half:], giveUp)
		default:
			if len(batch) == 1 && pgfault.Of(err) == pgfault.Data && e.salvage(batch) {
				return ownFaults
			}
			if pgfault.Of(err) != pgfault.Data {
				ownFaults = len(batch)
			}
			e.fail(batch, err)
			return ownFaults
		}
	}
}

// salvage runs the kind's Salvage for the one job, if it has one, and reports
// whether it committed. Whatever goes wrong leaves the job to its own error.
func (e *Engine[T]) salvage(batch []*entry[T]) bool {
	if e.kind.Salvage == nil {
		return false
	}
	err := e.transact(batch, e.kind.Salvage)
	if err != nil {
		if !errors.Is(err, ErrNotSalvaged) {
			e.options.Logger.Warn("job not salvaged", slog.Int64("job_id", batch[0].job.ID), slog.String("error", err.Error()))
		}
		return false
	}
	e.counts.committed.Add(1)
	e.answer(batch, nil)
	return true
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

// transact runs one transaction: apply, complete, commit. It runs on its own
// deadline, not on any job's context.
func (e *Engine[T]) transact(batch []*entry[T], apply Apply[T]) error {
	e.counts.transactions.Add(1)
	ctx, cancel := context.WithTimeout(context.Background(), e.options.FlushTimeout)
	defer cancel()
	tx, err := e.db.Begin(ctx)
	if err != nil {
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
	return e.keep(batch, func(en *entry[T]) (error, bool) {
		committed, notHeld := lost.jobs[en.job.ID]
		switch {
		case !notHeld:
			return nil, true
		case committed:
			e.counts.committed.Add(1)
			return nil, false
		default:
			e.counts.takenOver.Add(1)
			e.options.Logger.Warn("job was taken over by another process, nothing of this attempt is kept",
				slog.Int64("job_id", en.job.ID), slog.Int("attempt", en.job.Attempt))
			return ErrTakenOver, false
		}
	})
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
