package lane

import (
	"math/rand/v2"
	"time"

	"github.com/trainingmonkey/worker/internal/queue"
)

// Under a backlog at most one transaction of each number of a loop is under way,
// wherever it runs: it has the slot of that number. So more processes put no more
// load on the server than one, and keep no more of its memory busy.
//
// The slots stay with the process that has them, whose sessions have the plans
// already. Its first loop takes the first slot, and the other loops work only while
// that is not another's. Another process takes over when it finds the first slot
// free several times in a row: between two transactions of a loop it is, too, for a
// moment.

const (
	// maxSlotWait is between two checks whether slots are free. While there is a
	// backlog a process waits only for the one that works it to end.
	maxSlotWait = 500 * time.Millisecond
	// takeOverChecks find a slot free before it is taken over, with takeOverWait in
	// between, which is longer than most loops take between two transactions.
	takeOverChecks = 3
	takeOverWait   = 40 * time.Millisecond
)

// slotTaken is returned in place of the number of jobs that a turn found.
const slotTaken = -1

// slotWait is before the next check after so many in a row that found the slot
// taken.
func slotWait(checks int) time.Duration {
	return jitter(min(maxSlotWait, 5*time.Millisecond<<min(checks, 10)))
}

// jitter is between half of a wait and all of it.
func jitter(wait time.Duration) time.Duration { return wait/2 + rand.N(wait/2) }

// isSlotTaken reports, without asking the database, whether another process has the
// slots. l.mu is held.
func (l *Lane[T]) isSlotTaken(loop int, share queue.Share) bool {
	return share.InSlot && loop > 0 && l.cursors[0].lost
}

// setSlotLost notes whether another process had a loop's slot.
func (l *Lane[T]) setSlotLost(loop int, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cursors[loop].lost = lost
}
