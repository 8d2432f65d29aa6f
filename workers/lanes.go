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
	Live = "live" // what athletes wait for
	Bulk = "bulk" // imports, backfills and other bulk input
)

// laneRow is a lane of a process.
type laneRow struct {
	Kind, Class, Queue string
	Loops              int
	// writesResults says that the lane is not served where acwr.write is off.
	writesResults bool
}

// laneTable is every lane of a process: the budget, the names of queues, the
// labels of metrics and the rows of pages range over it.
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

// runner is a lane, whatever the type of its jobs' arguments.
type runner interface {
	Run(ctx context.Context)
	Turn(ctx context.Context) (found int, err error)
	Wake()
	Active(within time.Duration) bool
	Stats() lane.Stats
	Status() lane.Status
}

// drainingLane is a row of the table with what drains it.
type drainingLane struct {
	laneRow
	runner
}

const (
	// liveAim is what a transaction should take under a backlog: an athlete's job
	// that comes in between waits for one, and has one of its own.
	liveAim = 200 * time.Millisecond
	bulkAim = 100 * time.Millisecond
	// bulkJobs is how many bulk jobs a transaction claims at most. They may be
	// large: it bounds memory.
	bulkJobs = 32
)

// options of the lane of a row.
func (row laneRow) options(c config.Config, client string, caution *lane.Caution, limit *throttle, logger *slog.Logger) lane.Options {
	o := lane.Options{
		Schema: queue.Schema(c.River.Schema), Queue: row.Queue, Client: client,
		Loops: row.Loops, MaxJobs: c.Batching.MaxJobs, MaxWeight: c.Batching.MaxActivities,
		Timeout: c.Batching.TransactionTimeout, IdleTimeout: c.Database.IdleInTransactionTimeout, Aim: liveAim, Poll: c.River.FetchPollInterval,
		Newest: true, Keep: c.River.CompletedRetention > 0,
		Caution: caution, Logger: logger,
	}
	if row.Class == Bulk {
		o.Aim, o.Newest, o.MaxJobs, o.Throttle = bulkAim, false, min(bulkJobs, o.MaxJobs), limit
		o.Restrained, o.RestrainedWeight = limit.liveIsActive, c.Batching.BulkActivities
	}
	if row.Kind == jobs.KindACWRBackfill {
		o.MaxJobs = 1 // a chunk a turn
	}
	return o
}

// liveMemory is how long after the last live job a throttle still makes room for
// the next one.
const liveMemory = time.Second

// pace is the pause after a transaction while there are live jobs: a multiple of
// the transaction's time, bounded so that a slow one does not stop its lane.
type pace struct {
	multiple int
	max      time.Duration
}

var (
	bulkPace = pace{multiple: 3, max: time.Second}
	// backfillPace leaves more to live jobs: its transactions are long, and nobody
	// waits for the end of a backfill as one does for that of an import.
	backfillPace = pace{multiple: 8, max: 3 * time.Second}
)

func (p pace) after(transaction time.Duration) time.Duration {
	return min(time.Duration(p.multiple)*transaction, p.max)
}

// throttle paces transactions that no athlete waits for. While there are no live
// jobs, all pass at once. While there are, one of the process is under way at a
// time, and a pause follows it: on a small machine more would leave the live
// jobs no processor.
type throttle struct {
	liveIsActive func() bool
	pace         pace
	mu           sync.RWMutex
	exclusive    bool // the one that passed has mu for itself
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
