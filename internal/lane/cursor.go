package lane

import (
	"time"

	"github.com/trainingmonkey/worker/internal/queue"
)

// cursor remembers where the last claim ended. A claim usually starts at the
// beginning of the queue, which costs nothing: PostgreSQL skips the index
// entries of finished jobs. While an old snapshot is held it cannot, and every
// claim reads all of them; then most claims start where the last one ended. They
// also do when most jobs belong to another loop's share.
type cursor struct {
	at        queue.Position
	end       queue.Position // of the last claim, if it was filled
	backlog   bool           // the last claim was filled
	lost      bool           // another process had the loop's slot
	slow      bool           // the last claim from the beginning took longer than slowClaim
	beginning time.Time      // when the next claim from the beginning is due

	newest     time.Time // when the newest job became due that was claimed as one of the newest
	newestFrom time.Time // claims of the newest end here
	dug        int       // jobs that they returned since newestFrom was set
}

const (
	// slowClaim is the duration from which a claim from the beginning is
	// considered to read too many finished jobs.
	slowClaim = 10 * time.Millisecond
	// beginningShare is the divisor of the time that may be spent in slow claims
	// from the beginning.
	beginningShare = 20
	// overlap is how far before the end of the last claim the next one starts,
	// because jobs become visible when their transactions commit, not in the
	// order of their times. It never reaches back beyond the end of the claim
	// before, because a second may contain any number of finished jobs.
	overlap = time.Second
	// clockOverlap is the overlap when no job shows the server's time, because
	// this machine's clock may be ahead. If it is ahead by more, claims from
	// the beginning find the new jobs.
	clockOverlap = 5 * time.Second
	// newestDepth is how many jobs claims of the newest take before they leave older
	// jobs to the claims of the oldest. While an old snapshot is held, each of them
	// reads over all jobs that the previous ones took.
	newestDepth = 1000
)

// start returns where the next claim starts.
func (c *cursor) start(now time.Time) queue.Position {
	if !c.slow || !now.Before(c.beginning) {
		return queue.Position{}
	}
	return c.at
}

// moved records a claim: where it started, how long it took, and the last job
// that it found. Without c.backlog the claim reached the end of the queue, and
// the next one starts clockOverlap before now.
func (c *cursor) moved(from queue.Position, took time.Duration, now time.Time, last *queue.Job) {
	if from == (queue.Position{}) {
		c.slow = took > slowClaim
		c.beginning = now.Add(beginningShare * took)
	}
	if !c.backlog {
		c.at, c.end = queue.PositionAt(now).Before(clockOverlap), queue.Position{}
		return
	}
	before := c.end
	c.end = last.Position()
	c.at = c.end.Before(overlap)
	if before.After(c.at) {
		c.at = before
	}
	if c.at.After(c.end) { // a claim from the beginning found jobs that became visible late
		c.at = c.end.Before(overlap)
	}
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

// reset makes the next claims start at both ends of the queue.
func (c *cursor) reset() { c.slow, c.newestFrom, c.dug = false, time.Time{}, 0 }
