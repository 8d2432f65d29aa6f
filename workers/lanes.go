package workers

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/lane"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
)

// Classes of lanes.
const (
	Live = "live" // jobs that athletes wait for
	Bulk = "bulk" // imports, backfills and other bulk input
)

// laneRow describes a lane of a process.
type laneRow struct {
	Kind, Class, Queue string
	Loops              int
	// writesResults says that the lane does not run if acwr.write is off.
	writesResults bool
}

// laneTable returns every lane of a process. The connection budget, queue
// names, labels of metrics and rows of pages are derived from it.
func laneTable(c config.Config) []laneRow {
	table := []laneRow{
		{Kind: jobs.KindActivityIngest, Class: Live, Queue: jobs.QueueIngest, Loops: c.Batching.Loops},
		{Kind: jobs.KindActivityIngest, Class: Bulk, Queue: jobs.QueueIngestBulk, Loops: c.Batching.Loops},
		{Kind: jobs.KindACWRRecalc, Class: Live, Queue: jobs.QueueRecalc, Loops: c.Batching.Loops, writesResults: true},
		{Kind: jobs.KindACWRRecalc, Class: Bulk, Queue: jobs.QueueRecalcBulk, Loops: 1, writesResults: true},
		{Kind: jobs.KindACWRBackfill, Class: Bulk, Queue: jobs.QueueBackfill, Loops: c.Backfill.Workers, writesResults: true},
	}
	return slices.DeleteFunc(table, func(row laneRow) bool { return row.writesResults && c.ACWR.Write == writeOff })
}

// runner is a lane of any type of arguments.
type runner interface {
	Run(ctx context.Context)
	Turn(ctx context.Context) (found int, err error)
	Wake()
	Active(within time.Duration) bool
	Stats() lane.Stats
	Status() lane.Status
}

// drainingLane is a row of the table with its lane.
type drainingLane struct {
	laneRow
	runner
}

const (
	// liveAim is how long a transaction should take under a backlog. A job that an athlete
	// enqueues meanwhile takes up to two: the one under way, and its own.
	liveAim = 200 * time.Millisecond
	bulkAim = 100 * time.Millisecond
	// bulkJobs is the max number of bulk jobs in a transaction. They may be
	// large, so it bounds memory.
	bulkJobs = 32
)

// options returns the options of the row's lane. All lanes share caution and maintenance.
func (row laneRow) options(c config.Config, client string, caution *lane.Caution, maintenance sync.Locker, limit *throttle, logger *slog.Logger) lane.Options {
	o := lane.Options{
		Schema: queue.Schema(c.River.Schema), Queue: row.Queue, Client: client,
		Loops: row.Loops, MaxJobs: c.Batching.MaxJobs, MaxWeight: c.Batching.MaxActivities,
		Timeout: c.Batching.TransactionTimeout, Aim: liveAim, Poll: c.River.FetchPollInterval,
		Priority: jobs.PriorityLive, Newest: true, Keep: c.River.CompletedRetention > 0,
		Caution: caution, Maintenance: maintenance, Logger: logger,
	}
	if row.Class == Bulk {
		o.Priority, o.Newest = jobs.PriorityBulk, false
		o.Aim, o.MaxJobs, o.Throttle = bulkAim, min(bulkJobs, o.MaxJobs), limit
		o.Restrained, o.RestrainedWeight = limit.liveIsActive, c.Batching.BulkActivities
	}
	if row.Kind == jobs.KindACWRBackfill {
		o.MaxJobs = 1 // one chunk per turn
	}
	return o
}

// liveMemory is how long after the last live job a throttle still expects another.
const liveMemory = time.Second

// pace determines the pause after a transaction while there are live jobs: a multiple of
// the transaction's time, bounded so that a slow one does not stop its lane.
type pace struct {
	multiple int
	max      time.Duration
}

var (
	bulkPace = pace{multiple: 3, max: time.Second}
	// backfillPace leaves more time to live jobs: backfill transactions are long,
	// and the end of a backfill is less urgent than that of an import.
	backfillPace = pace{multiple: 8, max: 3 * time.Second}
)

func (p pace) after(transaction time.Duration) time.Duration {
	return min(time.Duration(p.multiple)*transaction, p.max)
}

// throttle paces transactions that no athlete waits for. While there are no live jobs, it
// delays none. While there are, one transaction of the process runs at a time, followed by
// a pause: on a small machine more would leave live jobs no processor.
type throttle struct {
	liveIsActive func() bool
	pace         pace
	mu           sync.RWMutex
	exclusive    bool // the current transaction has mu write-locked
	entered      time.Time
}

// Lock implements sync.Locker.
func (t *throttle) Lock() {
	if !t.liveIsActive() {
		t.mu.RLock()
		return
	}
	t.mu.Lock()
	t.exclusive, t.entered = true, time.Now()
}

// Unlock implements sync.Locker.
func (t *throttle) Unlock() {
	if !t.exclusive {
		t.mu.RUnlock()
		return
	}
	if t.liveIsActive() {
		time.Sleep(t.pace.after(time.Since(t.entered)))
	}
	t.exclusive = false
	t.mu.Unlock()
}
