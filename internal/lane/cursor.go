package lane

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
)

// cursor remembers where a loop's last claim ended. Claims start at the beginning
// of the queue as long as that costs nothing, because PostgreSQL skips the index
// entries of finished jobs. While an old snapshot is held it cannot, and after a
// slow claim the next ones start at the cursors. Jobs before them, such as those
// that became visible late, are found by recheck. The cursors of all loops are at
// the same position unless each loop claims from its own share.
type cursor struct {
	at       queue.Position
	end      queue.Position // of the last claim, if it was filled
	setBacks int            // how often jobs were found before at, or left there
	backlog  bool           // the last claim was filled
	lost     bool           // another process had the loop's slot

	newest     time.Time // when the newest job became due that was claimed as one of the newest
	newestFrom time.Time // claims of the newest end here
	dug        int       // jobs that they returned since newestFrom was set
}

const (
	// slowClaim is the duration from which a claim from the beginning is
	// considered to read too many finished jobs.
	slowClaim = 10 * time.Millisecond
	// recheckShare is the divisor of the time that may be spent in rechecks.
	recheckShare = 20
	// overlap is how far before the end of the last claim the next one starts,
	// because jobs become visible when their transactions commit, not in the
	// order of their times. It never reaches back beyond the end of the claim
	// before, because a second may contain any number of finished jobs.
	overlap = time.Second
	// clockOverlap is the overlap when no job shows the server's time, because
	// this machine's clock may be ahead. If it is ahead by more, recheck finds
	// the new jobs.
	clockOverlap = 5 * time.Second
	// newestDepth is how many jobs claims of the newest take before they leave older
	// jobs to the claims of the oldest. While an old snapshot is held, each of them
	// reads over all jobs that the previous ones took.
	newestDepth = 1000
)

// start returns where the next claim of a loop's share starts. l.mu is held.
func (l *Lane[T]) start(loop int, share queue.Share) queue.Position {
	switch {
	case !l.slow:
		return queue.Position{}
	case share.Of > 1:
		return l.cursors[loop].at
	default:
		return l.hindmost().at
	}
}

// hindmost returns the cursor that is furthest behind. l.mu is held.
func (l *Lane[T]) hindmost() cursor {
	return slices.MinFunc(l.cursors, func(a, b cursor) int { return a.at.Compare(b.at) })
}

// origin is where a claim began.
type origin struct {
	share    queue.Share
	from     queue.Position
	setBacks []int // of each cursor
}

// beginClaim returns the origin of a loop's next claim. l.mu is held.
func (l *Lane[T]) beginClaim(loop int, share queue.Share) origin {
	o := origin{share: share, from: l.start(loop, share)}
	hindmost := l.hindmost()
	for i := range l.cursors {
		c := &l.cursors[i]
		if share.Of <= 1 {
			c.at, c.end = hindmost.at, hindmost.end
		}
		o.setBacks = append(o.setBacks, c.setBacks)
	}
	return o
}

// moved records a claim: how long it took, whether it was filled, and the last job that it
// found. It moves the loop's cursor, and the others as well if it was not from a share,
// except those that were set back since the claim began. l.mu is held.
func (l *Lane[T]) moved(loop int, o origin, took time.Duration, now time.Time, filled bool, last *queue.Job) {
	fromBeginning := o.from == (queue.Position{})
	if fromBeginning && took > slowClaim {
		l.slow = true
	}
	for i := range l.cursors {
		if c := &l.cursors[i]; (i == loop || o.share.Of <= 1) && c.setBacks == o.setBacks[i] {
			if fromBeginning {
				c.at, c.end = queue.Position{}, queue.Position{}
			}
			c.moved(now, filled, last)
		}
	}
}

// moved records the last job of a claim. Unless it was filled, the claim reached the end of
// the queue, and the next one starts clockOverlap before now.
func (c *cursor) moved(now time.Time, filled bool, last *queue.Job) {
	if !filled {
		c.at, c.end = queue.PositionAt(now).Before(clockOverlap), queue.Position{}
		return
	}
	end := last.Position()
	if !end.After(c.end) { // a claim that began at the same time ended further on
		return
	}
	before := c.end
	c.end = end
	c.at = end.Before(overlap)
	if before.After(c.at) {
		c.at = before
	}
}

// setBack makes the next claims start where a claim began whose jobs, or some of them, are
// still in the queue. l.mu is held.
func (l *Lane[T]) setBack(loop int, o origin) {
	ownShare := o.share.Of > 1 && o.share.Digit == l.digit // otherwise they may be in any share
	for i := range l.cursors {
		if !ownShare || i == loop {
			l.cursors[i].setBack(o.from)
		}
	}
}

func (c *cursor) setBack(to queue.Position) {
	c.setBacks++
	if !to.After(c.at) {
		c.at, c.end = to, queue.Position{}
	}
}

// recheck checks for jobs before the cursors, which no claim would find, until ctx ends.
// While an old snapshot is held, each check reads all finished jobs. It has a connection of
// its own, so that no claimed job waits for it.
func (l *Lane[T]) recheck(ctx context.Context) {
	wait := l.options.Poll
	for ctx.Err() == nil {
		l.pause(ctx, wait, true)
		wait = max(l.options.Poll, recheckShare*l.recheckOnce(ctx))
	}
}

// recheckOnce sets all cursors back to the beginning if jobs wait before them. It
// returns how long the check took, 0 if there was none.
func (l *Lane[T]) recheckOnce(ctx context.Context) (took time.Duration) {
	l.mu.Lock()
	before, needed := l.hindmost().at, l.slow && !l.cursors[0].lost
	l.mu.Unlock()
	if !needed || ctx.Err() != nil {
		return 0
	}
	l.options.Maintenance.Lock()
	defer l.options.Maintenance.Unlock()
	ctx, cancel := context.WithTimeout(ctx, l.options.Timeout)
	defer cancel()
	began, waiting := time.Now(), false
	b := &pgx.Batch{}
	l.options.Schema.WaitingBefore(b, l.options.Client, l.options.Queue, before, &waiting)
	err := l.db.SendBatch(ctx, b).Close()
	took = time.Since(began)
	if err != nil { // the loops report what is wrong with the database
		return took
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !waiting {
		l.slow = took > slowClaim
		return took
	}
	for i := range l.cursors {
		l.cursors[i].setBack(queue.Position{})
	}
	l.Wake()
	return took
}

// movedNewest records a claim of the newest jobs: how many it asked for, and which it
// found, newest first. The next one claims jobs newer than these, and older ones up to
// newestDepth.
func (c *cursor) movedNewest(asked int, found []queue.Job) {
	if len(found) == 0 {
		return
	}
	if newest := found[0].DueAt(); newest.After(c.newest) {
		c.newest = newest
	}
	c.dug += len(found)
	switch from := c.newest.Add(-overlap); {
	case c.dug >= newestDepth:
		c.newestFrom, c.dug = c.newest, 0
	case len(found) < asked:
		c.dug = 0
		if from.After(c.newestFrom) {
			c.newestFrom = from
		}
	}
}

// resetNewest makes the next claim of the newest jobs start at the newest one.
func (c *cursor) resetNewest() { c.newestFrom, c.dug = time.Time{}, 0 }
