package lane

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
)

const (
	// firstSize is the size of a lane's first claim, before it knows how long jobs take.
	firstSize = 100
	// newestJobs is how many jobs of a claim come from the newest ones under a
	// backlog; newestShare is the divisor of a small claim that limits them. They
	// are few, because days of an athlete that are stored before earlier ones have
	// to be written again with those.
	newestJobs, newestShare = 16, 4
	// promise is how long a lane with a backlog promises to poll, so that
	// enqueuers need not notify it.
	promise = time.Second
	// promisedFrom is the size of a claim, in jobs, from which a lane promises to poll.
	promisedFrom = 4
)

func (l *Lane[T]) attempt() queue.Attempt {
	return queue.Attempt{Client: l.options.Client, Keep: l.options.Keep}
}

// claimJobs claims as many jobs as a transaction has time for, by the lane's
// estimate. It returns nil if another process has the loop's slot.
func (l *Lane[T]) claimJobs(ctx context.Context, tx pgx.Tx, loop int) ([]queue.Job, origin, error) {
	l.mu.Lock()
	began := time.Now()
	cursor := &l.cursors[loop]
	share := l.share(loop, began)
	o := l.beginClaim(loop, share)
	newestFrom, size := cursor.newestFrom, l.size
	newest := 0
	if cursor.backlog && l.options.Newest {
		newest = min(newestJobs, size/newestShare)
	}
	promises := l.promises && l.awakeTill.Before(began.Add(promise/2))
	ours := !l.isSlotTaken(loop, share)
	l.mu.Unlock()
	if !ours {
		return nil, o, nil
	}
	if l.options.Caution.Careful() {
		size, newest = min(size, carefulJobs), 0
	}

	oldestFirst, newestFirst := []queue.Job{}, []queue.Job{}
	b := &pgx.Batch{}
	if share.InSlot {
		queue.TakeSlot(b, l.options.Queue, share, &ours)
	}
	if promises {
		l.options.Schema.PromiseToPoll(b, l.options.Queue, promise)
	}
	l.options.Schema.Claim(b, l.options.Client, l.options.Queue, share, o.from, size-newest, &oldestFirst)
	if newest > 0 {
		l.options.Schema.ClaimNewest(b, l.options.Client, l.options.Queue, share, newestFrom, newest, &newestFirst)
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		if isTimeout(err) && o.from == (queue.Position{}) {
			o.from = l.passAll(began)
		}
		return nil, o, err
	}
	l.answered()
	if l.setSlotLost(loop, !ours); !ours {
		return nil, o, nil
	}

	now := time.Now()
	claimed := oldestFirst
	for _, job := range newestFirst { // both statements may have claimed it
		if !slices.ContainsFunc(oldestFirst, func(j queue.Job) bool { return j.ID == job.ID }) {
			claimed = append(claimed, job)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if promises {
		l.awakeTill = began.Add(promise)
	}
	if len(claimed) > 0 {
		l.lastJob = now
	}
	cursor.backlog = len(oldestFirst) == size-newest
	if !cursor.backlog && share.Of <= 1 {
		l.backlogIsOver()
	}
	l.promises = len(claimed) >= promisedFrom
	cursor.movedNewest(newest, newestFirst)
	var last *queue.Job
	if cursor.backlog {
		last = &oldestFirst[len(oldestFirst)-1]
	}
	l.moved(loop, o, began, now.Sub(began), last)
	if share.Of > 1 && share.Digit == l.digit && len(claimed) == 0 {
		l.shareRest(now)
	}
	if cursor.backlog {
		l.leads[loop].passOn()
	}
	return claimed, o, nil
}

// share returns the jobs that a loop claims from now: in its slot if any loop has a
// backlog, and only its own part while loops wait for each other's locks. l.mu is held.
func (l *Lane[T]) share(loop int, now time.Time) queue.Share {
	backlogged := slices.ContainsFunc(l.cursors, func(c cursor) bool { return c.backlog })
	contended := now.Before(l.contended)
	share := queue.Share{Part: loop, InSlot: backlogged || contended}
	if contended && l.options.Loops > 1 && l.kind.ShareBy != nil {
		share.Of, share.Digit, share.Path = l.options.Loops, l.digit, l.kind.ShareBy
	}
	return share
}

// checksAfter is the wait from which a loop that was not woken checks for jobs
// before it begins a transaction.
const checksAfter = 50 * time.Millisecond

// check reports, without a transaction, whether jobs wait and whether the loop's
// slot is free, if it needs one. If the database does not answer, both are true:
// the error of the transaction that follows is the one reported.
func (l *Lane[T]) check(ctx context.Context, loop int) (waiting, free bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.options.Timeout)
	defer cancel()
	now := time.Now()
	l.mu.Lock()
	share := l.share(loop, now)
	from := l.start(loop, share)
	taken := l.isSlotTaken(loop, share)
	l.mu.Unlock()
	if taken {
		return true, false
	}
	if share.InSlot {
		b := &pgx.Batch{}
		queue.TakeSlot(b, l.options.Queue, share, &free)
		if err := l.db.SendBatch(ctx, b).Close(); err != nil {
			return true, true
		}
		l.answered()
		if !free {
			l.setSlotLost(loop, true)
			return true, false
		}
	}
	b := &pgx.Batch{}
	l.options.Schema.Waiting(b, l.options.Queue, from, &waiting)
	if err := l.db.SendBatch(ctx, b).Close(); err != nil {
		return true, true
	}
	l.answered()
	if !waiting {
		l.mu.Lock()
		l.backlogIsOver()
		l.promises = false
		l.mu.Unlock()
	}
	return waiting, true
}

// backlogIsOver lets all loops claim without a slot. l.mu is held.
func (l *Lane[T]) backlogIsOver() {
	for i := range l.cursors {
		l.cursors[i].backlog, l.cursors[i].lost = false, false
	}
}

// answered records that the database has answered.
func (l *Lane[T]) answered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastClaim = time.Now()
}

func (l *Lane[T]) maxWeight() int {
	if l.options.Restrained != nil && l.options.Restrained() {
		return l.options.RestrainedWeight
	}
	return l.options.MaxWeight
}

// fit sets the size of the next claim by how long this transaction took,
// without its wait for locks, and by the weight of its jobs.
func (l *Lane[T]) fit(loop, jobs int, leftOver bool, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.cursors[loop].backlog && took < 2*l.options.Aim {
		return
	}
	wanted := int(float64(jobs) * l.options.Aim.Seconds() / max(took.Seconds(), 0.001))
	wanted = max(1, jobs/2, min(wanted, 2*jobs)) // one slow transaction proves little
	if leftOver {
		wanted = min(wanted, jobs+jobs/8)
	}
	l.size = min(l.options.MaxJobs, wanted)
}
