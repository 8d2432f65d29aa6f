package lane

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/trainingmonkey/worker/internal/queue"
)

// A job that kills its process, by exhausting the memory say, leaves no trace in
// a transaction that is rolled back. So after an unclean death of any process
// all are careful for a while: they claim few jobs, and mark them with their
// name, in a commit of its own, before they work them. What ends an attempt takes
// the marks away; what is marked already is worked while its process does nothing
// else; what maxDeaths of those who marked it died of is discarded. Only deaths
// count: a process that lives takes what it marked up again.

const (
	// carefulJobs are worked at once by a careful lane.
	carefulJobs = 20
	// maxDeaths of marked jobs: one beside others, three alone. The death that began
	// it all is one more.
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

// Careful reports whether the process is careful now.
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

// haveDied returns the jobs that are given up.
func haveDied(claimed []queue.Job) (doomed []queue.Job) {
	for _, job := range claimed {
		if job.Deaths >= maxDeaths {
			doomed = append(doomed, job)
		}
	}
	return doomed
}
