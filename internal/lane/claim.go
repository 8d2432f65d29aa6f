package lane

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
)

const (
	// firstSize is how many jobs a lane asks for before it knows how long they take.
	firstSize = 100
	// newestJobs is how many jobs of a claim come from the newest ones while there
	// is a backlog, and the divisor of their share in a small one. Not many: an
	// athlete's days that are stored before earlier ones are written again with
	// them.
	newestJobs, newestShare = 16, 4
	// promise is for how long a lane with a backlog promises to poll for jobs by
	// itself, so that enqueuers need not wake it.
	promise = time.Second
	// promisedFrom is the number of jobs in a claim from which on it does so.
	promisedFrom = 4
)

func (l *Lane[T]) attempt() queue.Attempt {
	return queue.Attempt{Client: l.options.Client, Keep: l.options.Keep}
}

// claimJobs claims as many jobs as the lane has found to fit the time. It returns
// nil when another process has the loop's slot.
func (l *Lane[T]) claimJobs(ctx context.Context, tx pgx.Tx, loop int) ([]queue.Job, error) {
	l.mu.Lock()
	began := time.Now()
	cursor := &l.cursors[loop]
	from, newestFrom, size := cursor.start(began), cursor.newestFrom, l.size
	share := l.share(loop, began)
	newest := 0
	if cursor.backlog && l.options.Newest {
		newest = min(newestJobs, size/newestShare)
	}
	promises := l.promises && l.awakeTill.Before(began.Add(promise/2))
	ours := !l.isSlotTaken(loop, share)
	l.mu.Unlock()
	if !ours {
		return nil, nil
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
	l.options.Schema.Claim(b, l.options.Client, l.options.Queue, share, from, size-newest, &oldestFirst)
	if newest > 0 {
		l.options.Schema.ClaimNewest(b, l.options.Client, l.options.Queue, share, newestFrom, newest, &newestFirst)
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, err
	}
	l.answered()
	if l.setSlotLost(loop, !ours); !ours {
		return nil, nil
	}

	now := time.Now()
	claimed := oldestFirst
	for _, job := range newestFirst { // the other statement may have claimed it, too
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
	if !cursor.backlog && share.Of <= 1 && from == (queue.Position{}) { // no loop has left jobs behind
		l.backlogIsOver()
	}
	l.promises = len(claimed) >= promisedFrom
	cursor.movedNewest(newest, newestFirst)
	var last *queue.Job
	if n := len(oldestFirst); n > 0 {
		last = &oldestFirst[n-1]
	}
	if share.Of <= 1 || share.Digit == l.digit { // otherwise the claim was by an earlier division
		cursor.moved(from, now.Sub(began), now, last)
		if share.Of > 1 && len(claimed) == 0 {
			l.shareRest(now)
		}
	}
	if cursor.backlog {
		l.leads[loop].passOn()
	}
	return claimed, nil
}

// share is what a loop claims of now: in its slot where any loop has left jobs behind,
// and its own part where loops wait for each other. l.mu is held.
func (l *Lane[T]) share(loop int, now time.Time) queue.Share {
	backlogged := slices.ContainsFunc(l.cursors, func(c cursor) bool { return c.backlog })
	contended := now.Before(l.contended)
	share := queue.Share{Part: loop, InSlot: backlogged || contended}
	if contended && l.options.Loops > 1 && l.kind.ShareBy != nil {
		share.Of, share.Digit, share.Path = l.options.Loops, l.digit, l.kind.ShareBy
	}
	return share
}

// checksAfter is from which wait on a lane that nobody woke asks whether there is
// anything for it before it begins a transaction.
const checksAfter = 50 * time.Millisecond

// check finds out, without a transaction, whether a loop could have its slot, where
// it needs one, and whether jobs wait. Where the database does not answer it says
// yes: the transaction's error says what is wrong.
func (l *Lane[T]) check(ctx context.Context, loop int) (waiting, free bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.options.Timeout)
	defer cancel()
	now := time.Now()
	l.mu.Lock()
	from := l.cursors[loop].start(now)
	share := l.share(loop, now)
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

// backlogIsOver notes that no loop need claim in its slot. l.mu is held.
func (l *Lane[T]) backlogIsOver() {
	for i := range l.cursors {
		l.cursors[i].backlog, l.cursors[i].lost = false, false
	}
}

// answered notes that the database has answered.
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

// fit has the next claim ask for what fits: by the time that this transaction
// took, waiting for locks left out, and by its jobs' weight.
func (l *Lane[T]) fit(loop, jobs int, leftOver bool, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.cursors[loop].backlog && took < 2*l.options.Aim {
		return
	}
	wanted := int(float64(jobs) * l.options.Aim.Seconds() / max(took.Seconds(), 0.001))
	wanted = max(1, jobs/2, min(wanted, 2*jobs)) // one slow transaction is not a rule
	if leftOver {
		wanted = min(wanted, jobs+jobs/8)
	}
	l.size = min(l.options.MaxJobs, wanted)
}
