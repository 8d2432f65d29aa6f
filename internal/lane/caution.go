package lane

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/trainingmonkey/worker/internal/queue"
)

// A job that kills its process, by exhausting the memory say, leaves no trace in
// a transaction that is rolled back. So after an unclean death of any process
// all are careful for a while: they claim few jobs, and count a death of each in
// advance, in a commit of its own, before they work them. What completes takes
// its mark away; what is marked already is worked while its process does nothing
// else; what reaches maxDeaths is discarded.

const (
	// carefulJobs are worked at once by a careful lane.
	carefulJobs = 20
	// maxDeaths in advance: one in company, three alone. The death that began it
	// all is one more.
	maxDeaths = 4
	// carefulFor is how long after an unclean death processes are careful.
	carefulFor = time.Minute
)

// Caution is shared by all lanes of a process.
type Caution struct {
	until atomic.Int64 // Unix nanoseconds

	// suspects is held by whoever works a suspect, and shared by all others.
	suspects sync.RWMutex
}

// Raise makes the process careful for a while.
func (c *Caution) Raise() { c.until.Store(time.Now().Add(carefulFor).UnixNano()) }

// Careful tells whether the process is careful now.
func (c *Caution) Careful() bool { return time.Now().UnixNano() < c.until.Load() }

// begin is called before a transaction that works jobs; what it returns ends it.
func (c *Caution) begin(suspect bool) (end func()) {
	if suspect {
		c.suspects.Lock()
		return c.suspects.Unlock
	}
	c.suspects.RLock()
	return c.suspects.RUnlock
}

// haveDied returns the jobs with so many deaths or more.
func haveDied(claimed []queue.Job, deaths int) (with []queue.Job) {
	for _, job := range claimed {
		if job.Deaths >= deaths {
			with = append(with, job)
		}
	}
	return with
}
