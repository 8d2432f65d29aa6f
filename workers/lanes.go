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

// liveMemory is how long after the last live job a gate still makes room for
// the next one.
const liveMemory = time.Second

// pace is the pause after a transaction while there are live jobs: a multiple of
// the transaction's time, bounded so that a slow one does not stop its lane.
type pace struct {
	multiple int
	longest  time.Duration
}

var (
	bulkPace = pace{multiple: 3, longest: time.Second}
	// backfillPace leaves more to live jobs: its transactions are long, and nobody
	// waits for the end of a backfill as one does for that of an import.
	backfillPace = pace{multiple: 8, longest: 3 * time.Second}
)

func (p pace) after(transaction time.Duration) time.Duration {
	return min(time.Duration(p.multiple)*transaction, p.longest)
}

// gate paces transactions that no athlete waits for. While there are no live
// jobs, all pass at once. While there are, one of the process is under way at a
// time, and a pause follows it: on a small machine more would leave the live
// jobs no processor.
type gate struct {
	liveIsActive func() bool
	pace         pace
	mu           sync.RWMutex
	alone        bool // the one that passed has mu for itself
	entered      time.Time
}

// Lock implements sync.Locker.
func (g *gate) Lock() {
	if !g.liveIsActive() {
		g.mu.RLock()
		return
	}
	g.mu.Lock()
	g.alone, g.entered = true, time.Now()
}

// Unlock implements sync.Locker.
func (g *gate) Unlock() {
	if !g.alone {
		g.mu.RUnlock()
		return
	}
	if g.liveIsActive() {
		time.Sleep(g.pace.after(time.Since(g.entered)))
	}
	g.alone = false
	g.mu.Unlock()
}
