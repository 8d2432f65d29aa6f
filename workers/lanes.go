package workers

import (
	"context"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/trainingmonkey/worker/internal/groupcommit"
)

// lanes are the engines of one kind: what athletes wait for does not share
// worker slots, transactions or committers with bulk input.
type lanes[T river.JobArgs] struct {
	live, bulk *groupcommit.Engine[T]
	bulkQueue  string
}

func (l lanes[T]) of(queue string) *groupcommit.Engine[T] {
	if queue == l.bulkQueue {
		return l.bulk
	}
	return l.live
}

// work hands a job to its lane. What it returns is final: the engine has
// written, fenced, what becomes of the job.
func (l lanes[T]) work(ctx context.Context, job *river.Job[T]) error {
	if err := l.of(job.Queue).Work(ctx, job); err != nil {
		return err
	}
	return groupcommit.Committed
}

// noTimeout turns River's own limit on a job off. The engine bounds every
// transaction and every retry itself; a limit in River would end a job that
// waits for the database to come back, and could not say so to the database.
const noTimeout = -1

const (
	// liveMemory is how long after the last live job the bulk lane still makes
	// room for the next one.
	liveMemory = time.Second
	// bulkPause is how long the bulk lane pauses after a transaction while there
	// are live jobs, as a multiple of the transaction's time.
	bulkPause = 3
	// longestPause keeps a slow transaction from stopping the bulk lane.
	longestPause = time.Second
)

// bulkGate lets one bulk transaction of a process run at a time, whatever its
// kind, and follows it by a pause as long as there are live jobs: on a small
// machine two bulk transactions at once would leave them no processor.
type bulkGate struct {
	liveIsActive func() bool
	mu           sync.Mutex
	entered      time.Time
}

// Lock implements sync.Locker.
func (g *bulkGate) Lock() {
	g.mu.Lock()
	g.entered = time.Now()
}

// Unlock implements sync.Locker.
func (g *bulkGate) Unlock() {
	if g.liveIsActive() {
		time.Sleep(min(bulkPause*time.Since(g.entered), longestPause))
	}
	g.mu.Unlock()
}
