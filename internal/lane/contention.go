package lane

import (
	"math/rand/v2"
	"time"
)

// Under a backlog the loops of all processes take turns: at most one transaction
// of each number of a loop is under way, wherever it runs. So more processes put
// no more load on the server than one, and keep no more of its memory busy.
//
// Loops that want the locks of the same few users would stand in line for them
// with their claims in hand: each would have a few jobs of every user, and rewrite
// for them what the others have just written. So the loops of a lane that has
// waited for locks take turns, too, and jobs of a share of their own, for a while.

const (
	// contentionAfter is the wait for locks that begins it.
	contentionAfter = 20 * time.Millisecond
	// contentionFor is for how long.
	contentionFor = 5 * time.Second
	// maxInTurnWait is between two tries to have a turn. Whoever has it keeps it
	// while there is a backlog: the others only wait for that process to end.
	maxInTurnWait = 500 * time.Millisecond
)

// notOurTurn is returned in place of the number of jobs that a turn found.
const notOurTurn = -1

// isContended tells whether loops take jobs of a share of their own.
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
