// Package lane drains one queue. A lane is a loop, and each turn of it is one
// transaction:
//
//	BEGIN → claim → lock, read, decide, write → complete → COMMIT
//
// The row lock is the claim and the fence, the connection is the heartbeat,
// rollback is the retry: until the commit nobody else can have the jobs, and if
// it does not come, nothing happened and no attempt is spent.
//
// Rules. Effects and outcomes of all jobs of a turn commit together. One job
// that the database refuses, or that panics, costs its neighbours nothing. What
// is transient, and what is the fault of the lane itself, costs no job an
// attempt.
//
// The package knows nothing of what the jobs do.
package lane

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
)

// DB starts transactions; a *dbpool.Pool, say.
type DB interface {
	BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error)
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// Job is a claimed job with its arguments decoded.
type Job[T any] struct {
	queue.Job
	Args T

	weight int
}

// Kind is what a lane has to know of the jobs that it works.
type Kind[T any] struct {
	Name string // as in river_job.kind; jobs of other kinds fail

	// Decode reads a job's arguments. Its error cancels the job: trying again
	// would not help.
	Decode func(data []byte) (T, error)

	// Weigh says how much of a transaction's MaxWeight a job takes: the number of
	// rows that it brings, say. nil: 1.
	Weigh func(args *T) int

	// ShareBy is the path in the arguments to what decides which locks a job will
	// want, most of them at least. While loops have to wait for each other, each
	// takes jobs of its own share. nil: no such thing.
	ShareBy []string

	// Lock queues the taking of every lock that the jobs need, in an order that
	// is the same for all transactions. nil: they need none.
	Lock func(b *pgx.Batch, jobs []*Job[T])

	// Apply sends first, followed by what it reads in the same round trip, and
	// decides. The lane sends what it returns. Apply has no effects outside tx,
	// and may be called again for the same jobs, in other batches, after what it
	// did was rolled back. jobs are in ascending order of their ids. Its error is a
	// *Fault where no job is to blame.
	Apply func(ctx context.Context, tx pgx.Tx, first *pgx.Batch, jobs []*Job[T]) (Writes, error)

	// Salvage, if not nil, works a single job that the database refused, as far
	// as the database takes it. See Salvage.
	Salvage func(ctx context.Context, s *Salvage, job *Job[T]) error

	// Probe queues every statement of Apply without a row to work on. What fails
	// then as well is no job's fault. nil: nothing is known to be the lane's fault.
	// A loop begins with it, so that its session has the statements prepared.
	Probe func(b *pgx.Batch)
}

// Writes is what a group of jobs writes.
type Writes struct {
	Batch *pgx.Batch // nil for nothing
	// After, if not nil, is called when the batch was carried out.
	After func(ctx context.Context, tx pgx.Tx) error
}

// Options tune a lane. All are required except IdleTimeout, Restrained, Throttle,
// Observer and Logger.
type Options struct {
	Schema queue.Schema
	Queue  string
	Client string // River's name of this process

	Loops     int           // transactions at once, each on a connection of its own
	MaxJobs   int           // in one transaction
	MaxWeight int           // of the jobs of one transaction; a heavier job has one of its own
	Timeout   time.Duration // of one transaction
	// IdleTimeout is how long the server waits, within a transaction, for a process
	// that is frozen or cut off. Each transaction sets it: behind a pooler the next
	// may have another session. 0 leaves the session's.
	IdleTimeout time.Duration

	// Restrained, if not nil, reports whether others need the machine more: then
	// RestrainedWeight is in place of MaxWeight.
	Restrained       func() bool
	RestrainedWeight int

	Aim    time.Duration // what a transaction should take under a backlog
	Poll   time.Duration // how late a job is noticed whose notification got lost
	Newest bool          // under a backlog a share of each claim comes from the newest jobs
	Keep   bool          // completed jobs stay until River removes them; otherwise they are deleted at once

	// Throttle, if not nil, is held during a turn.
	Throttle sync.Locker
	// Caution is the process's.
	Caution *Caution

	Observer Observer     // nil: nobody watches
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
	careful sync.Mutex // held during a turn that marks jobs: one loop of the lane does so at a time
	leads   []lead     // of each loop

	mu        sync.Mutex
	size      int       // jobs that the next claim asks for
	cursors   []cursor  // of each loop
	lastClaim time.Time // the newest claim, or check, that the database answered
	lastJob   time.Time // the newest claim that found jobs
	promises  bool      // enqueuers need not wake this lane while it goes on like this
	awakeTill time.Time // until when it has promised to poll by itself
	contended time.Time // until when loops take jobs of a share of their own
	digit     int       // of the hash by which they share
	sharedAt  time.Time // when they shared by another one
	fault     error     // of the lane's own; nil for none
	faultAt   time.Time // when it was seen last
	logged    time.Time // when trouble was logged last
	raced     int       // turns in a row that met a race
	overtime  map[int64]int
	blocked   map[int64]bool // jobs that, alone, met a lock that somebody holds
}

// New returns a lane that does nothing before Run.
func New[T any](db DB, o Options, kind Kind[T]) *Lane[T] {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	if kind.Weigh == nil {
		kind.Weigh = func(*T) int { return 1 }
	}
	begin := BeginQuery
	if o.IdleTimeout > 0 {
		begin += fmt.Sprintf("; SET LOCAL idle_in_transaction_session_timeout = %d", o.IdleTimeout.Milliseconds())
	}
	cursors := make([]cursor, max(1, o.Loops))
	for i := range cursors {
		cursors[i].backlog = true // unless the first claim finds less
	}
	return &Lane[T]{
		leads: newLeads(max(1, o.Loops)), options: o, db: db, kind: kind, begin: begin, woken: make(chan struct{}, 1), cursors: cursors,
		size: min(firstSize, o.MaxJobs), overtime: map[int64]int{}, blocked: map[int64]bool{},
	}
}

// Wake has the lane claim jobs now.
func (l *Lane[T]) Wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// Run works until ctx ends. A turn that is under way then is finished; a job
// whose turn has not come stays in the queue.
func (l *Lane[T]) Run(ctx context.Context) {
	var loops sync.WaitGroup
	for i := range l.options.Loops {
		loops.Go(func() { l.loop(ctx, i) })
	}
	loops.Wait()
}

func (l *Lane[T]) loop(ctx context.Context, loop int) {
	l.prepare(ctx, loop)
	lead := &l.leads[loop]
	defer lead.passOn()
	wait := time.Duration(0)         // before the next turn
	empty, failed, others := 0, 0, 0 // turns in a row
	freeChecks := 0                  // in a row that found the slot of another process free
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
			if gathering = l.isDrained(loop); gathering {
				wait = gatherTime
			}
		default:
			empty, failed, others = empty+1, 0, 0
			l.worked(ctx, found)
			wait = l.untilNextCheck(empty)
		}
	}
}

// gatherTime is for how long a loop that has worked all that waited lets more arrive. A
// transaction for every few jobs keeps enqueuers from the processors and from the disk: one
// that enqueues job after job is half as fast again, with half of the work for the server.
const gatherTime = time.Millisecond

// isDrained reports whether a loop has left no jobs behind for which others wait.
func (l *Lane[T]) isDrained(loop int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.cursors[loop].backlog && !time.Now().Before(l.contended)
}

// pause waits, and is cut short by Wake, unless the lane has to keep still, or by
// the end of ctx. It returns whether it was.
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

// untilNextCheck doubles from 2 ms: a job whose enqueuer saw that the lane was
// busy, and committed when it no longer was, woke nobody. While the lane has
// promised to be awake it does not go beyond 5 ms.
func (l *Lane[T]) untilNextCheck(empty int) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := min(l.options.Poll, firstCheck<<min(empty-1, 20))
	if time.Now().Before(l.awakeTill) {
		wait = min(wait, awakeChecks)
	}
	return wait
}
