// Package lane drains one queue. A lane is a loop, and each turn of it is one transaction:
//
//	BEGIN → claim → lock, read, decide, write → complete → COMMIT
//
// The row lock is the claim and the fence, the connection is the heartbeat,
// rollback is the retry: until the commit no other process can claim the jobs,
// and without a commit nothing happened and no attempt is spent.
//
// Rules. The effects and outcomes of all jobs of a turn commit together. A job
// that the database refuses, or that panics, does not affect the others of its
// batch. Transient errors and faults of the lane itself cost no job an attempt.
//
// The package does not know what the jobs do.
package lane

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
)

// DB starts transactions, as *dbpool.Pool does.
type DB interface {
	// BeginQuery returns the statements that begin a transaction with settings.
	BeginQuery(settings map[string]string) string
	BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// Job is a claimed job with its arguments decoded.
type Job[T any] struct {
	queue.Job
	Args T

	weight int
}

// Kind describes the jobs of a lane.
type Kind[T any] struct {
	Name string // as in river_job.kind; jobs of other kinds fail

	// Decode reads a job's arguments. Its error cancels the job, because a
	// retry would not help.
	Decode func(data []byte) (T, error)

	// Weigh returns how much of a transaction's MaxWeight a job takes, such as
	// its number of rows. nil: 1.
	Weigh func(args *T) int

	// ShareBy is the path in the arguments to the value that determines most of
	// the locks a job needs. While loops wait for each other's locks, each claims
	// only jobs of its own share. nil: jobs are never shared out.
	ShareBy []string

	// Lock queues the statements that take all locks of the jobs, in the same
	// order in all transactions. nil: they need none.
	Lock func(b *pgx.Batch, jobs []*Job[T])

	// Apply sends first together with its own reads, in one round trip, and returns
	// what the lane is to write. It has no effects outside tx: after a rollback it
	// may be called again for the same jobs in other batches. jobs are in ascending
	// order of their ids. Its error is a *Fault if no job is the cause.
	Apply func(ctx context.Context, tx pgx.Tx, first *pgx.Batch, jobs []*Job[T]) (Writes, error)

	// Salvage, if not nil, works the parts of a refused job that the database
	// accepts. See Salvage.
	Salvage func(ctx context.Context, s *Salvage, job *Job[T]) error

	// Probe queues every statement of Apply without rows. If one fails there too, the lane
	// is at fault and not a job. nil: errors are always attributed to jobs. Each loop runs
	// it first, so that its session has the statements prepared.
	Probe func(b *pgx.Batch)
}

// Writes is what a group of jobs writes.
type Writes struct {
	Batch *pgx.Batch // nil for nothing
	// After, if not nil, is called once the batch has been executed.
	After func(ctx context.Context, tx pgx.Tx) error
}

// Options configure a lane. All are required except Now, Restrained, Throttle, Maintenance,
// Observer and Logger.
type Options struct {
	Schema queue.Schema
	Queue  string
	Client string           // River's name of this process
	Now    func() time.Time // by the server's clock; nil is this machine's
	// Priority is that of most jobs of the queue. While claims from the beginning are slow,
	// more urgent ones wait for a recheck.
	Priority int

	Loops     int           // concurrent transactions, each on a connection of its own
	MaxJobs   int           // in one transaction
	MaxWeight int           // of the jobs of one transaction; a heavier job gets one of its own
	Timeout   time.Duration // of one transaction

	// Restrained, if not nil, reports whether other work has priority:
	// RestrainedWeight then replaces MaxWeight.
	Restrained       func() bool
	RestrainedWeight int

	Aim    time.Duration // what a transaction should take under a backlog
	Poll   time.Duration // max delay of a job whose notification was lost
	Newest bool          // under a backlog, part of each claim comes from the newest jobs
	Keep   bool          // completed jobs stay for their retention; otherwise the lane deletes them

	// Throttle, if not nil, is held during a turn.
	Throttle sync.Locker
	// Caution is shared by all lanes of the process.
	Caution *Caution
	// Maintenance, if not nil, is held while the lane uses a connection beyond those of
	// its loops. All lanes of the process share it.
	Maintenance sync.Locker

	Observer Observer     // nil: none
	Logger   *slog.Logger // nil discards
}

// Lane works the jobs of one queue.
type Lane[T any] struct {
	options Options
	db      DB
	kind    Kind[T]
	begin   string
	counts  counters
	woken   chan struct{}
	careful sync.Mutex // held during a turn that marks jobs: one loop at a time
	leads   []lead     // of each loop

	mu        sync.Mutex
	size      int           // of the next claim, in jobs
	cursors   []cursor      // of each loop
	slow      bool          // claims start at the cursors, because from the beginning they are slow
	lastClaim time.Time     // the latest claim or check that the database answered
	lastJob   time.Time     // the latest claim that found jobs
	promises  bool          // the last claim found enough jobs to promise to poll
	awakeTill time.Time     // until when the lane has promised to poll
	contended time.Time     // until when each loop claims from its own share
	digit     int           // of the hash that assigns jobs to shares
	sharedAt  time.Time     // when digit last changed
	fault     error         // of the lane's own; nil for none
	faultAt   time.Time     // when fault last occurred
	logged    time.Time     // when trouble was logged last
	raced     map[int64]int // how many turns with a job met a race
	overtime  map[int64]int
	blocked   map[int64]bool // jobs that, isolated, waited too long for another transaction's lock
}

// New returns a lane that does nothing before Run.
func New[T any](db DB, o Options, kind Kind[T]) *Lane[T] {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	if o.Maintenance == nil {
		o.Maintenance = &sync.Mutex{}
	}
	if kind.Weigh == nil {
		kind.Weigh = func(*T) int { return 1 }
	}
	cursors := make([]cursor, max(1, o.Loops))
	for i := range cursors {
		cursors[i].backlog = true // unless the first claim finds less
	}
	return &Lane[T]{
		leads: newLeads(max(1, o.Loops)), options: o, db: db, kind: kind, begin: db.BeginQuery(Settings), woken: make(chan struct{}, 1), cursors: cursors,
		size: min(firstSize, o.MaxJobs), raced: map[int64]int{}, overtime: map[int64]int{}, blocked: map[int64]bool{},
	}
}

// Wake makes the lane claim jobs now.
func (l *Lane[T]) Wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// Run works jobs until ctx ends. A turn that is under way then is finished;
// jobs not yet claimed stay in the queue.
func (l *Lane[T]) Run(ctx context.Context) {
	var loops sync.WaitGroup
	for i := range l.options.Loops {
		loops.Go(func() { l.loop(ctx, i) })
	}
	loops.Go(func() { l.recheck(ctx) })
	loops.Wait()
}

func (l *Lane[T]) loop(ctx context.Context, loop int) {
	l.prepare(ctx, loop)
	lead := &l.leads[loop]
	defer lead.passOn()
	wait := time.Duration(0)         // before the next turn
	empty, failed, others := 0, 0, 0 // consecutive turns
	freeChecks := 0                  // consecutive ones that found another process's slot free
	gathering := false               // the wait is gatherTime
	for ctx.Err() == nil {
		inTrouble := failed+others > 0
		if inTrouble || l.isContended() { // others need not wait with this one
			lead.passOn()
		}
		woken := true
		if inTrouble {
			woken = l.pause(ctx, wait, true)
		}
		taken := !l.isContended() && lead.take(ctx)
		if wait > 0 && !inTrouble && !taken {
			woken = l.pause(ctx, wait, gathering)
		}
		if ctx.Err() != nil {
			return
		}
		if failed == 0 && (others > 1 || !woken && wait >= checksAfter) {
			waiting, free := l.check(ctx, loop)
			switch {
			case !waiting:
				empty, others = empty+1, 0
				wait = l.untilNextCheck(empty)
				continue
			case !free:
				others, freeChecks = others+1, 0
				wait = slotWait(others)
				continue
			case others > 1 && loop == 0 && freeChecks < takeOverChecks-1:
				freeChecks++
				wait = jitter(takeOverWait)
				continue
			}
		}
		freeChecks, gathering = 0, false
		tooLong := time.AfterFunc(leadTime, lead.passOn)
		found, err := l.turn(ctx, loop)
		tooLong.Stop()
		switch {
		case err != nil:
			failed++
			wait = l.afterError(ctx, err, failed)
		case found == slotTaken:
			others++
			wait = slotWait(others)
		case found > 0:
			empty, failed, others, wait = 0, 0, 0, 0
			l.worked(ctx, found)
			if gathering = l.isDrained(loop) && !l.isContended(); gathering {
				wait = gatherTime
			}
		default:
			empty, failed, others = empty+1, 0, 0
			l.worked(ctx, found)
			wait = l.untilNextCheck(empty)
		}
	}
}

// gatherTime is how long a loop that has drained its queue lets jobs arrive before its next
// turn. Transactions of a few jobs each would compete with enqueuers for processors and
// disk: with the pause a program that enqueues one job after another is 1.5 times as fast,
// at half the load on the server.
const gatherTime = time.Millisecond

// isDrained reports whether a loop's last claim left no jobs waiting.
func (l *Lane[T]) isDrained(loop int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.cursors[loop].backlog
}

// pause waits for d. The end of ctx cuts it short, and so does Wake unless still
// is true. It returns whether it was cut short.
func (l *Lane[T]) pause(ctx context.Context, d time.Duration, still bool) (cutShort bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	woken := l.woken
	if still {
		woken = nil
	}
	select {
	case <-woken:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return true
	}
}

const (
	firstCheck  = 2 * time.Millisecond
	awakeChecks = 5 * time.Millisecond
)

// untilNextCheck returns the wait after so many empty turns, which doubles from 2 ms: an
// enqueuer does not notify a busy lane, and the lane may be idle by the time the job
// commits. While a promise to poll is in force, the wait is at most 5 ms.
func (l *Lane[T]) untilNextCheck(empty int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := min(l.options.Poll, firstCheck<<min(empty-1, 20))
	if time.Now().Before(l.awakeTill) {
		wait = min(wait, awakeChecks)
	}
	return wait
}
