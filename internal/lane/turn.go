package lane

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
)

// Settings are those of a lane's transactions, besides the pool's. Statements find rows by
// their keys: a prepared statement keeps its plan, and one made while the tables were small,
// or had no statistics yet, would go on scanning them as they grow. trainingmonkey.worker
// makes change capture, where it is installed, leave the consequences of the writes to the
// worker. lock_timeout bounds the wait for locks: transactions of a frozen process wait for
// each other, and one that got its locks when the server ended the first would keep its jobs
// for as long again. It is below deadlock_timeout (1s by default), because statements of the
// application may lock rows in another order, and the lane is the side that can retry.
var Settings = map[string]string{
	"lock_timeout":   "500ms",
	"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off",
	"jit":                   "off",
	"trainingmonkey.worker": "on",
}

// turn is one transaction of a lane.
type turn[T any] struct {
	lane *Lane[T]
	loop int
	ctx  context.Context
	tx   *countingTx

	claimed   []queue.Job
	origin    *origin   // of the claim; nil before it
	jobs      []*Job[T] // being worked, in ascending order of ids
	locked    bool      // their locks are taken
	tries     int       // savepoints so far
	probed    bool
	raceIsJob bool          // see Lane.raceIsJob
	waited    time.Duration // for locks
	leftOver  bool          // more was claimed than fits into one transaction

	completed []*Job[T]
	failures  []queue.Failure
	postponed []int64     // jobs
	suspects  []queue.Job // marked, and worked in the next transaction
}

// Turn claims jobs, works them, and returns how many it found. Run calls nothing else.
func (l *Lane[T]) Turn(ctx context.Context) (found int, err error) { return l.turn(ctx, 0) }

func (l *Lane[T]) turn(ctx context.Context, loop int) (found int, err error) {
	if l.options.Throttle != nil {
		l.options.Throttle.Lock()
		defer l.options.Throttle.Unlock()
	}
	if l.options.Caution.Careful() {
		l.careful.Lock()
		defer l.careful.Unlock()
	}
	end := l.options.Caution.begin(false)
	found, marked, err := l.transact(ctx, loop, (*turn[T]).claim)
	end()
	if err != nil || len(marked) == 0 {
		return found, err
	}
	suspect := marked[0].Marked
	defer l.options.Caution.begin(suspect)()
	if suspect { // marked again once the process works nothing else, rather than while it waits for that
		if _, marked, err = l.transact(ctx, loop, func(t *turn[T]) (int, error) { return len(marked), t.markAgain(marked) }); err != nil || len(marked) == 0 {
			return found, err
		}
	}
	_, _, err = l.transact(ctx, loop, func(t *turn[T]) (int, error) { return len(marked), t.reclaim(marked) })
	return found, err
}

// transact runs one transaction with a deadline of its own, so that a shutdown
// does not interrupt a turn.
func (l *Lane[T]) transact(ctx context.Context, loop int, work func(*turn[T]) (int, error)) (found int, marked []queue.Job, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.options.Timeout)
	defer cancel()
	began := time.Now()
	t := &turn[T]{lane: l, loop: loop, ctx: ctx, tx: &countingTx{roundTrips: 1}}
	defer func() {
		l.ended(t, found, time.Since(began), err)
	}()
	if t.tx.Tx, err = l.db.BeginTx(ctx, pgx.TxOptions{BeginQuery: l.begin}); err != nil {
		return 0, nil, err
	}
	defer func() { _ = t.tx.Rollback(ctx) }()
	if found, err = work(t); err != nil {
		return 0, nil, err
	}
	if found <= 0 {
		return found, nil, nil
	}
	return found, t.suspects, t.tx.Commit(ctx)
}

// claim claims jobs, and works them or marks them as suspects.
func (t *turn[T]) claim() (found int, err error) {
	claimed, origin, err := t.lane.claimJobs(t.ctx, t.tx, t.loop)
	t.claimed, t.origin = claimed, &origin
	if err != nil {
		return 0, fmt.Errorf("claim jobs: %w", err)
	}
	if claimed == nil {
		return slotTaken, nil
	}
	if len(claimed) == 0 {
		return 0, nil
	}
	if doomed := haveDied(claimed); len(doomed) > 0 {
		return len(claimed), t.work(doomed)
	}
	if suspect := slices.IndexFunc(claimed, func(j queue.Job) bool { return j.Marked }); suspect >= 0 {
		t.suspects = claimed[suspect : suspect+1]
		return len(claimed), nil
	}
	if t.lane.options.Caution.Careful() {
		return len(claimed), t.mark(claimed[:min(carefulJobs, len(claimed))])
	}
	return len(claimed), t.work(claimed)
}

// mark records, before the jobs are worked, that this process is about to work them.
func (t *turn[T]) mark(suspects []queue.Job) error {
	slices.SortFunc(suspects, func(a, b queue.Job) int { return cmp.Compare(a.ID, b.ID) })
	b := &pgx.Batch{}
	t.lane.options.Schema.MarkSuspects(b, t.lane.options.Client, suspects)
	if err := t.tx.SendBatch(t.ctx, b).Close(); err != nil {
		return fmt.Errorf("mark jobs as suspects: %w", err)
	}
	t.suspects = suspects
	return nil
}

// markAgain marks jobs again, except those that another process has claimed meanwhile.
func (t *turn[T]) markAgain(marked []queue.Job) error {
	claimed, err := t.claimAgain(marked)
	if err != nil || len(claimed) == 0 {
		return err
	}
	return t.mark(claimed)
}

// reclaim claims marked jobs again and works them.
func (t *turn[T]) reclaim(marked []queue.Job) error {
	claimed, err := t.claimAgain(marked)
	if err != nil {
		return err
	}
	return t.work(claimed)
}

// left returns the position before the first claimed job that the transaction left in the
// queue, if there is one.
func (t *turn[T]) left(err error) (before queue.Position, left bool) {
	if err != nil && len(t.claimed) == 0 && t.origin != nil { // the claim may have locked jobs
		return t.origin.from, true
	}
	ended := map[int64]bool{}
	if err == nil {
		if len(t.completed)+len(t.failures)+len(t.postponed) >= len(t.claimed) {
			return before, false
		}
		for _, job := range t.completed {
			ended[job.ID] = true
		}
		for _, f := range t.failures {
			ended[f.Job.ID] = true
		}
		for _, id := range t.postponed {
			ended[id] = true
		}
	}
	for _, job := range t.claimed {
		if position := job.Position().Predecessor(); !ended[job.ID] && (!left || before.After(position)) {
			before, left = position, true
		}
	}
	return before, left
}

func (t *turn[T]) claimAgain(marked []queue.Job) (claimed []queue.Job, err error) {
	t.claimed, t.origin = marked, &origin{}
	ids := make([]int64, len(marked))
	for i, j := range marked {
		ids[i] = j.ID
	}
	b := &pgx.Batch{}
	t.lane.options.Schema.Reclaim(b, ids, &claimed)
	if err := t.tx.SendBatch(t.ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("claim suspects: %w", err)
	}
	return claimed, nil
}

// work works claimed jobs, isolates the refused ones, and writes their outcomes.
func (t *turn[T]) work(claimed []queue.Job) error {
	fresh, failedBefore := t.take(claimed)
	if err := t.isolate(fresh); err != nil {
		return err
	}
	for _, job := range failedBefore {
		if err := t.isolate([]*Job[T]{job}); err != nil {
			return err
		}
	}
	if len(t.failures)+len(t.postponed) == 0 {
		return nil
	}
	slices.SortFunc(t.failures, func(a, b queue.Failure) int { return cmp.Compare(a.Job.ID, b.Job.ID) })
	b := &pgx.Batch{}
	if len(t.postponed) > 0 {
		t.lane.options.Schema.Postpone(b, t.postponed, postponement)
	}
	if err := t.lane.options.Schema.Fail(b, t.lane.attempt(), t.failures); err != nil {
		return err
	}
	if err := t.tx.SendBatch(t.ctx, b).Close(); err != nil {
		return fmt.Errorf("write what becomes of failed jobs: %w", err)
	}
	return nil
}

// take decodes the claimed jobs and keeps as many as fit into one transaction. The rest
// stays in the queue unchanged. Jobs that failed before are returned separately.
func (t *turn[T]) take(claimed []queue.Job) (fresh, failedBefore []*Job[T]) {
	l, weight, maxWeight := t.lane, 0, t.lane.maxWeight()
	for _, c := range claimed {
		job := &Job[T]{Job: c}
		var fault error
		switch {
		case c.Kind != l.kind.Name:
			t.fail(queue.Failure{Job: c, Err: fmt.Errorf("queue %s takes jobs of kind %s, not %s", l.options.Queue, l.kind.Name, c.Kind)})
			continue
		case c.Deaths >= maxDeaths:
			t.fail(queue.Failure{Job: c, Final: true, Err: fmt.Errorf("%d processes died while they worked it, out of memory or by a fatal error", c.Deaths)})
			continue
		case l.isBlocked(c.ID):
			t.postponed = append(t.postponed, c.ID)
			continue
		case l.isOvertime(c.ID):
			t.fail(queue.Failure{Job: c, Err: fmt.Errorf("took longer than batching.transaction_timeout (%v), %d times", l.options.Timeout, maxOvertime)})
			continue
		}
		if job.Args, fault = l.kind.Decode(c.Args); fault != nil {
			t.fail(queue.Failure{Job: c, Err: fault, Cancel: true})
			continue
		}
		job.weight = l.kind.Weigh(&job.Args)
		if weight > 0 && weight+job.weight > maxWeight {
			t.leftOver = true
			break
		}
		weight += job.weight
		t.jobs = append(t.jobs, job)
		if c.Attempt > 0 {
			failedBefore = append(failedBefore, job)
		} else {
			fresh = append(fresh, job)
		}
	}
	t.raceIsJob = l.raceIsJob(t.jobs)
	byID := func(a, b *Job[T]) int { return cmp.Compare(a.ID, b.ID) }
	slices.SortFunc(t.jobs, byID)
	slices.SortFunc(fresh, byID)
	slices.SortFunc(failedBefore, byID)
	return fresh, failedBefore
}

func (t *turn[T]) fail(f queue.Failure) { t.failures = append(t.failures, f) }
