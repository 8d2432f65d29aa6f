package lane

import (
	"context"
	"log/slog"
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
	// recheckShare is the divisor of the time that may be spent in rechecks, and
	// recheckInterval the min time between two of them.
	recheckShare    = 20
	recheckInterval = 200 * time.Millisecond
	// recheckTimeout is how long each statement of a recheck may take, unless
	// database.statement_timeout is shorter.
	recheckTimeout = time.Minute
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

// moved records a claim: when it began, how long it took, and the last job that it found if
// it was filled, otherwise nil. It moves the loop's cursor, and the others as well if it was
// not from a share, except those that were set back since the claim began. l.mu is held.
func (l *Lane[T]) moved(loop int, o origin, began time.Time, took time.Duration, last *queue.Job) {
	fromBeginning := o.from == (queue.Position{})
	if fromBeginning {
		l.slow = took > slowClaim
	}
	for i := range l.cursors {
		switch c := &l.cursors[i]; {
		case i != loop && o.share.Of > 1, c.setBacks != o.setBacks[i]:
		case last == nil:
			c.at, c.end = l.afterAll(began), queue.Position{}
		default:
			if fromBeginning {
				c.at, c.end = queue.Position{}, queue.Position{}
			}
			c.moved(last.Position())
		}
	}
}

// afterAll returns the position after all jobs that were visible at a time.
func (l *Lane[T]) afterAll(t time.Time) queue.Position {
	return queue.PositionAt(l.options.Priority, t.Add(-clockOverlap))
}

// passAll moves all cursors past the jobs that were visible at a time, after a claim from the
// beginning took longer than a transaction may: recheck, which may take longer, finds them.
func (l *Lane[T]) passAll(t time.Time) (to queue.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow, to = true, l.afterAll(t)
	for i := range l.cursors {
		l.cursors[i].at, l.cursors[i].end = to, queue.Position{}
	}
	return to
}

// moved records the end of a claim that was filled.
func (c *cursor) moved(end queue.Position) {
	if !end.After(c.end) { // a claim that began at the same time ended further on
		return
	}
	before := c.end
	c.end = end
	c.at = end.Earlier(overlap)
	if before.After(c.at) {
		c.at = before
	}
}

// setBack makes the next claims start at a position after which a claim of a share left
// jobs in the queue. l.mu is held.
func (l *Lane[T]) setBack(loop int, share queue.Share, to queue.Position) {
	ownShare := share.Of > 1 && share.Digit == l.digit // otherwise they may be in any share
	for i := range l.cursors {
		if !ownShare || i == loop {
			l.cursors[i].setBack(to)
		}
	}
}

func (c *cursor) setBack(to queue.Position) {
	c.setBacks++
	if !to.After(c.at) {
		c.at, c.end = to, to
	}
}

// recheck checks for jobs before the cursors, which no claim would find, until ctx ends.
// While an old snapshot is held, each check reads all finished jobs. It has a connection of
// its own, so that no claimed job waits for it.
func (l *Lane[T]) recheck(ctx context.Context) {
	wait := recheckInterval
	for ctx.Err() == nil {
		l.pause(ctx, wait, true)
		took, err := l.recheckOnce(ctx)
		if isTimeout(err) { // the loops report everything else
			l.options.Logger.WarnContext(ctx, "could not check for jobs before those that are claimed now; a held snapshot keeps finished jobs in the index",
				slog.String("queue", l.options.Queue), slog.Duration("took", took))
		}
		wait = max(recheckInterval, recheckShare*took)
	}
}

// recheckOnce sets the cursors back to the first job that waits before all of them. It
// returns how long the check took, 0 if none was needed.
func (l *Lane[T]) recheckOnce(ctx context.Context) (took time.Duration, err error) {
	l.options.Maintenance.Lock()
	defer l.options.Maintenance.Unlock()
	l.mu.Lock()
	before, needed := l.hindmost().at, l.slow && !l.cursors[0].lost
	l.mu.Unlock()
	if !needed || before == (queue.Position{}) || ctx.Err() != nil {
		return 0, nil
	}
	began, found := time.Now(), queue.Position{}
	search := func(first bool) error {
		ctx, cancel := context.WithTimeout(ctx, recheckTimeout)
		defer cancel()
		b := &pgx.Batch{}
		l.options.Schema.JobBefore(b, l.options.Client, l.options.Queue, before, first, &found)
		return l.db.SendBatch(ctx, b).Close()
	}
	if err = search(false); err == nil && found != (queue.Position{}) {
		err = search(true)
	}
	took = time.Since(began)
	if err != nil {
		return took, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if found == (queue.Position{}) {
		// A claim of a share is slow if it reads over the jobs of others.
		l.slow = took > slowClaim || time.Now().Before(l.contended)
		return took, nil
	}
	for i := range l.cursors {
		l.cursors[i].setBack(found.Predecessor())
	}
	l.Wake()
	return took, nil
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
