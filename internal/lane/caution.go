package lane

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/trainingmonkey/worker/internal/queue"
)

// A job that kills its process, for example by exhausting memory, leaves no trace in a
// transaction that is rolled back. So after an unclean death of any process all are careful
// for a while: they claim few jobs, and mark them with the process's name, in a commit of
// its own, before they work them. The end of an attempt removes the marks. A job that is
// already marked is worked while its process does nothing else. A job is discarded once
// maxDeaths processes that marked it have died. Only deaths count: a living process works
// again the jobs that it marked.

const (
	// carefulJobs is the max number of jobs in a careful lane's transaction.
	carefulJobs = 20
	// maxDeaths is how many processes may die of a marked job: one beside other jobs, three
	// with the job isolated. The death that made processes careful is not counted.
	maxDeaths = 4
	// carefulFor is how long processes are careful after an unclean death.
	carefulFor = time.Minute
)

// Caution is shared by all lanes of a process.
type Caution struct {
	until atomic.Int64 // Unix nanoseconds

	// suspects is locked by a turn that works a suspect, and read-locked by all others.
	suspects sync.RWMutex
}

// Raise makes the process careful for a while.
func (c *Caution) Raise() { c.until.Store(time.Now().Add(carefulFor).UnixNano()) }

// Careful reports whether the process is careful now.
func (c *Caution) Careful() bool { return time.Now().UnixNano() < c.until.Load() }

// begin is called before a transaction that works jobs, and end after it.
func (c *Caution) begin(suspect bool) (end func()) {
	if suspect {
		c.suspects.Lock()
		return c.suspects.Unlock
	}
	c.suspects.RLock()
	return c.suspects.RUnlock
}

// haveDied returns the jobs of which maxDeaths processes have died.
func haveDied(claimed []queue.Job) (doomed []queue.Job) {
	for _, job := range claimed {
		if job.Deaths >= maxDeaths {
			doomed = append(doomed, job)
		}
	}
	return doomed
}
