package lane

import (
	"math/rand/v2"
	"time"

	"github.com/trainingmonkey/worker/internal/queue"
)

// A lane's loops are numbered, and each number has a slot. Under a backlog a
// transaction needs the slot of its loop's number, so that of all processes one
// at a time works under each number. More processes then put no more load on the
// server than one, and use no more of its memory.
//
// The slots stay with the process that has them, because its sessions already have
// the plans. A process's first loop takes the first slot, and its other loops work
// only while no other process has that slot. Another process takes over when it
// finds the first slot free several times in a row, because it is also free for a
// moment between two transactions.

const (
	// maxSlotWait is the max time between two checks for a free slot. Under a backlog a
	// process has nothing to wait for but the end of the one that works it.
	maxSlotWait = 500 * time.Millisecond
	// takeOverChecks is how many consecutive checks must find a slot free before it
	// is taken over. takeOverWait, the time between them, is longer than most loops
	// take between two transactions.
	takeOverChecks = 3
	takeOverWait   = 40 * time.Millisecond
)

// slotTaken is returned in place of the number of jobs found if another process
// has the slot.
const slotTaken = -1

// slotWait is the wait after so many consecutive checks that found the slot taken.
func slotWait(checks int) time.Duration {
	return jitter(min(maxSlotWait, 5*time.Millisecond<<min(checks, 10)))
}

// jitter returns a random duration between half of a wait and all of it.
func jitter(wait time.Duration) time.Duration { return wait/2 + rand.N(wait/2) }

// isSlotTaken reports, without a query, whether another process has the slots. l.mu
// is held.
func (l *Lane[T]) isSlotTaken(loop int, share queue.Share) bool {
	return share.InSlot && loop > 0 && l.cursors[0].lost
}

// setSlotLost records whether another process had a loop's slot.
func (l *Lane[T]) setSlotLost(loop int, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cursors[loop].lost = lost
}
