package lane

import (
	"time"

	"github.com/trainingmonkey/worker/internal/queue"
)

// cursor remembers where the last claim ended. Usually a claim starts from the
// beginning of the queue, which costs nothing: PostgreSQL skips the index
// entries of finished jobs. While somebody holds an old snapshot it cannot, and
// walks over all of them with every claim; then most claims start where the last
// one ended.
type cursor struct {
	at        queue.Position
	slow      bool      // the last claim from the beginning took its time
	beginning time.Time // when the next claim from the beginning is due
}

const (
	// slowClaim is from when on a claim from the beginning is one that has too
	// much to walk over.
	slowClaim = 10 * time.Millisecond
	// beginningShare is the part of the time, as a divisor, that may go into slow
	// claims from the beginning.
	beginningShare = 20
	// overlap is how far before the last claim's end the next one starts: jobs
	// become visible when their transactions commit, not in the order of their
	// times.
	overlap = time.Second
)

// start returns where the next claim starts.
func (c *cursor) start(now time.Time) queue.Position {
	if !c.slow || !now.Before(c.beginning) {
		return queue.Position{}
	}
	return c.at
}

// moved notes a claim that started at a place, took so long, and found jobs.
func (c *cursor) moved(from queue.Position, took time.Duration, now time.Time, last *queue.Job) {
	if from == (queue.Position{}) {
		c.slow = took > slowClaim
		c.beginning = now.Add(beginningShare * took)
	}
	if last != nil {
		c.at = last.Position().Before(overlap)
	}
}

// reset has the next claim start from the beginning.
func (c *cursor) reset() { c.slow = false }
