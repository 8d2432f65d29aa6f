package lane

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
)

// maxTries bounds the savepoints of a transaction: PostgreSQL keeps 64 of its
// subtransactions in memory, and beyond that snapshots become slow. Jobs not
// reached by then stay in the queue.
const maxTries = 63

// PanicError is the error of jobs whose Apply panicked.
type PanicError struct {
	Value any
	Stack string
}

// Error implements error.
func (p *PanicError) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// refusal is an error caused by some job of a group. The transaction continues.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// Fault is an error that no job causes: a missing column, a revoked permission, a bug.
type Fault struct{ Err error }

// Error implements error.
func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Err }

// isolate works a group of jobs. If the database refuses it, or it panics, the
// group is halved until the poison job is isolated: one among n jobs costs at
// most 2·log₂ n + 1 tries. Any other error ends the transaction.
func (t *turn[T]) isolate(group []*Job[T]) error {
	if len(group) == 0 || t.tries >= maxTries {
		return nil
	}
	err := t.try(func(ctx context.Context, first *pgx.Batch) (Writes, error) {
		return t.lane.kind.Apply(ctx, t.tx, first, group)
	}, group)
	var refused *refusal
	switch {
	case err == nil:
		t.completed = append(t.completed, group...)
		return nil
	case !errors.As(err, &refused):
		return err
	case len(group) == 1:
		return t.refuse(group[0], refused.err)
	}
	t.lane.counts.bisections.Add(1)
	half := len(group) / 2
	if err := t.isolate(group[:half]); err != nil {
		return err
	}
	return t.isolate(group[half:])
}

// refuse salvages a refused job if possible, and otherwise fails it.
func (t *turn[T]) refuse(job *Job[T], reason error) error {
	if t.lane.kind.Salvage != nil && (dbpool.Classify(reason) == dbpool.Data || isRace(reason)) {
		salvaged, err := t.salvage(job)
		if salvaged || err != nil {
			return err
		}
	}
	f := queue.Failure{Job: job.Job, Err: reason}
	if panicked := (*PanicError)(nil); errors.As(reason, &panicked) {
		f.Trace = panicked.Stack
	}
	t.fail(f)
	return nil
}

// salvage keeps everything that the kind's Salvage did, or nothing.
func (t *turn[T]) salvage(job *Job[T]) (salvaged bool, err error) {
	s := &Salvage{tries: &t.tries}
	s.try = func(apply func(context.Context, pgx.Tx, *pgx.Batch) (Writes, error)) error {
		if !s.begun {
			s.begun = true
			t.tries++
			if err := t.simply("SAVEPOINT job"); err != nil {
				return err
			}
		}
		return t.tryPart(apply)
	}
	end := "RELEASE SAVEPOINT job"
	switch err := t.lane.kind.Salvage(t.ctx, s, job); {
	case err == nil:
		salvaged = true
	case errors.Is(err, ErrNotSalvaged):
		end = "ROLLBACK TO SAVEPOINT job; RELEASE SAVEPOINT job"
	default:
		return false, err
	}
	if s.begun {
		if err := t.simply(end); err != nil {
			return false, err
		}
	}
	if !salvaged {
		return false, nil
	}
	return true, t.keepOrComplete(job, s.rest)
}

// simply runs statements without parameters, even in a failed transaction.
func (t *turn[T]) simply(sql string) error {
	_, err := t.tx.Exec(t.ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// keepOrComplete completes a salvaged job, or leaves it in the queue with the
// parts that were not tried yet.
func (t *turn[T]) keepOrComplete(job *Job[T], rest []byte) error {
	b := &pgx.Batch{}
	if rest != nil {
		t.lane.options.Schema.SetArgs(b, job.ID, rest)
	} else {
		t.completed = append(t.completed, job)
		t.lane.options.Schema.Complete(b, t.lane.attempt(), []int64{job.ID})
	}
	return t.tx.SendBatch(t.ctx, b).Close()
}

// clockQuery runs before and after the locks to measure the wait for them, which
// does not count when the next claim is sized.
const clockQuery = `
-- name: lock_clock
SELECT clock_timestamp()`

// noSuchSavepoint is the SQLSTATE of a rollback after an error before the savepoint, in the
// locks or in preparing a statement, or after its release. Only that error says anything.
const noSuchSavepoint = "3B001"

// try executes what apply decides under a savepoint, and completes jobs. It
// returns nil; a refusal, after which the transaction is as it was before; or an
// error that ends the transaction.
func (t *turn[T]) try(apply func(context.Context, *pgx.Batch) (Writes, error), completes []*Job[T]) error {
	t.tries++
	first := &pgx.Batch{}
	if !t.locked && t.lane.kind.Lock != nil {
		var before, after time.Time
		first.Queue(clockQuery).QueryRow(func(row pgx.Row) error { return row.Scan(&before) })
		t.lane.kind.Lock(first, t.jobs)
		first.Queue(clockQuery).QueryRow(func(row pgx.Row) error {
			defer func() { t.waited = after.Sub(before) }()
			return row.Scan(&after)
		})
	}
	first.Queue("SAVEPOINT try")
	t.tx.first, t.tx.firstSent = first, false
	err := t.carryOut(first, apply, completes)
	t.locked = t.locked || t.tx.firstSent
	if err == nil {
		return nil
	}
	if ownFault := (*Fault)(nil); errors.As(err, &ownFault) {
		return err
	}
	fault := dbpool.Classify(err)
	if fault == dbpool.Transient && (!t.raceIsJob || !isRace(err)) {
		return err
	}
	if t.tx.firstSent {
		if rollbackErr := t.simply("ROLLBACK TO SAVEPOINT try; RELEASE SAVEPOINT try"); rollbackErr != nil {
			switch {
			case dbpool.Classify(rollbackErr) == dbpool.Transient:
				return rollbackErr
			case dbpool.SQLState(rollbackErr) == noSuchSavepoint:
				return &Fault{err}
			}
			return &Fault{fmt.Errorf("%w; roll back to a savepoint: %w", err, rollbackErr)}
		}
	}
	if fault == dbpool.Program && !isPanic(err) {
		if probeErr := t.probe(); probeErr != nil {
			return probeErr
		}
	}
	return &refusal{err}
}

// carryOut is the part of try under the savepoint. It turns a panic into an error.
func (t *turn[T]) carryOut(first *pgx.Batch, apply func(context.Context, *pgx.Batch) (Writes, error), completes []*Job[T]) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: string(debug.Stack())}
		}
	}()
	w, err := apply(t.ctx, first)
	if err != nil {
		return err
	}
	b := w.Batch
	if b == nil {
		b = &pgx.Batch{}
	}
	b.Queue("SET CONSTRAINTS ALL IMMEDIATE") // an error at the commit could not be isolated
	if t.raceIsJob {                         // the batch's results show the race, and the jobs must not be completed before
		if err := t.tx.SendBatch(t.ctx, b).Close(); err != nil {
			return err
		}
		b = &pgx.Batch{}
	}
	t.release(b, completes)
	if err := t.tx.SendBatch(t.ctx, b).Close(); err != nil || w.After == nil {
		return err
	}
	return w.After(t.ctx, t.tx)
}

// release ends the savepoint before the jobs are completed: to update, in a
// subtransaction, a row that the transaction has locked costs a multixact.
func (t *turn[T]) release(b *pgx.Batch, completes []*Job[T]) {
	b.Queue("RELEASE SAVEPOINT try")
	if len(completes) == 0 {
		return
	}
	ids := make([]int64, len(completes))
	for i, job := range completes {
		ids[i] = job.ID
	}
	t.lane.options.Schema.Complete(b, t.lane.attempt(), ids)
}

// probe runs the lane's statements without rows. If they fail too, no job is the cause.
func (t *turn[T]) probe() error {
	if t.probed || t.lane.kind.Probe == nil {
		return nil
	}
	t.probed = true
	b := &pgx.Batch{}
	t.lane.kind.Probe(b)
	if err := t.tx.SendBatch(t.ctx, b).Close(); err != nil {
		if dbpool.Classify(err) == dbpool.Transient {
			return err
		}
		return &Fault{err}
	}
	return nil
}

func isPanic(err error) bool {
	var panicked *PanicError
	return errors.As(err, &panicked)
}
