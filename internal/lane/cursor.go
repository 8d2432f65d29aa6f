package lane

import (
	"time"

	"github.com/trainingmonkey/worker/internal/queue"
)

// cursor remembers where the last claim ended. Usually a claim starts from the
// beginning of the queue, which costs nothing: PostgreSQL skips the index
// entries of finished jobs. While somebody holds an old snapshot it cannot, and
// walks over all of them with every claim; then most claims start where the last
// one ended. So they do when most jobs are of another loop's share.
type cursor struct {
	at        queue.Position
	end       queue.Position // of the last claim, if it got all that it asked for
	backlog   bool           // the last claim got all that it asked for
	lost      bool           // another process had the slot of the loop
	slow      bool           // the last claim from the beginning took its time
	beginning time.Time      // when the next claim from the beginning is due

	newest     time.Time // when the newest job became due that was claimed as one of the newest
	newestFrom time.Time // claims of the newest go down to here
	dug        int       // jobs that they got since they began to go down to there
}

const (
	// slowClaim is from when on a claim from the beginning is one that has too
	// much to walk over.
	slowClaim = 10 * time.Millisecond
	// beginningShare is the part of the time, as a divisor, that may go into slow
	// claims from the beginning.
	beginningShare = 20
	// overlap is how far before the last claim's end the next one starts, but not
	// before the end of the claim before that one: jobs become visible when their
	// transactions commit, not in the order of their times, and a second may have
	// any number of finished jobs.
	overlap = time.Second
	// clockOverlap is the same where no job shows the server's time: this
	// machine's clock may be ahead. Should it be by more, new jobs are found by
	// claims from the beginning.
	clockOverlap = 5 * time.Second
	// newestDepth is how many jobs claims of the newest take before they leave what is
	// older to the claims of the oldest. While an old snapshot is held, each of them
	// walks over all that those before it took.
	newestDepth = 1000
)

// start returns where the next claim starts.
func (c *cursor) start(now time.Time) queue.Position {
	if !c.slow || !now.Before(c.beginning) {
		return queue.Position{}
	}
	return c.at
}

// moved notes a claim that started at a place, took so long, and found jobs. If
// those are all that there are, c.backlog being false, it has seen the others'.
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
	if c.at.After(c.end) { // a claim from the beginning found what had become visible late
		c.at = c.end.Before(overlap)
	}
}

// movedNewest notes a claim of the newest jobs: of how many, and what it found, newest
// first. What is newer than all that was found is claimed next, and what is older as far as
// newestDepth allows.
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

// reset has the next claims start from the beginning, and from the end.
func (c *cursor) reset() { c.slow, c.newestFrom = false, time.Time{} }
