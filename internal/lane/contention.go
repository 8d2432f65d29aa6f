package lane

import (
	"math/rand/v2"
	"time"
)

// Loops of this and other processes that want the locks of the same few users
// would stand in line for them with their claims in hand: each would have a few
// jobs of every user, and rewrite for them what the others have just written. So
// a lane that has waited for locks takes turns, for a while, with all others that
// have: one transaction for each share of the queue, wherever it runs, claims as
// much as one can take.

const (
	// contentionAfter is the wait for locks that begins it.
	contentionAfter = 20 * time.Millisecond
	// contentionFor is for how long.
	contentionFor = 5 * time.Second
	// maxInTurnWait is between two tries to have a turn.
	maxInTurnWait = 100 * time.Millisecond
)

// notOurTurn is returned in place of the number of jobs that a turn found.
const notOurTurn = -1

// isContended tells whether the lane takes turns.
func (l *Lane[T]) isContended() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Now().Before(l.contended)
}

// inTurnWait is before the next try after so many in a row.
func inTurnWait(tries int) time.Duration {
	wait := min(maxInTurnWait, 5*time.Millisecond<<min(tries, 10))
	return wait/2 + rand.N(wait/2)
}
