// Package groupcommit lets concurrently executing River jobs share one
// transaction:
//
//	BEGIN → effects of all jobs → fenced completion of all jobs → COMMIT → every Work returns
//
// Rules. A job's effects and its completion commit together or not at all. Only
// the process that holds a job's current attempt can commit it. A job handed to
// the engine gets exactly one verdict, whatever happens to its context, to the
// connection or to the code that applies it. One job that the database refuses
// costs the others nothing.
//
// The engine knows nothing of what the jobs do: it takes the function that
// applies a batch.
package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/trainingmonkey/worker/internal/rollout"
)

// Apply carries out the effects of jobs inside tx, set-based. It must not
// commit, must have no effects outside tx, and may be called again for the same
// jobs, alone or in other company, after tx was rolled back. jobs are in
// ascending order of their ids.
type Apply[T river.JobArgs] func(ctx context.Context, tx pgx.Tx, jobs []*river.Job[T]) error

// Beginner starts transactions; a *dbpool.Pool, say.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Options tune an engine. All are required except Patience, Gate, Observer and Logger.
type Options struct {
	RiverSchema  string        // where river_job lives
	MaxBatch     int           // jobs in one transaction, at most
	MaxWeight    int           // sum of the jobs' weights in one transaction; a heavier job goes alone
	Committers   int           // transactions at once, each on a connection of its own
	Linger       time.Duration // how long the first job of a batch waits for company, at most
	FlushTimeout time.Duration // one transaction, from BEGIN to COMMIT
	RetryFor     time.Duration // how long a batch is tried again when nobody is at fault
	SnoozeFor    time.Duration // how long jobs sleep when RetryFor did not suffice

	// Patience, if not nil, says for how long a batch waits for company although
	// its linger is over, or every executing job is in it. It is asked again all
	// along: the batch goes as soon as it says 0.
	Patience func() time.Duration

	// Gate, if not nil, is held while a batch is committed. Engines that share
	// one commit in turn.
	Gate sync.Locker

	// RolloutPercent of the jobs, always the same ones, are batched; the others
	// have a transaction each.
	RolloutPercent int
	Breaker        BreakerOptions

	Observer Observer     // nil: nobody watches
	Logger   *slog.Logger // nil discards
}

// Kind is what an engine has to know of the jobs that it batches.
type Kind[T river.JobArgs] struct {
	// Weigh says how much of a transaction's MaxWeight a job takes: the number
	// of rows it brings, say. It is called once per job.
	Weigh func(job *river.Job[T]) int
	// Apply carries out a batch.
	Apply Apply[T]
	// Shard, if not nil, says which locks a job will want: jobs of different
	// shards, none or few the same. When more waits than one transaction takes,
	// a batch is of one shard, and another committer takes another one, so that
	// they do not wait for each other's locks. It is called once per job.
	Shard func(job *river.Job[T]) int
	// Salvage, if not nil, is called instead of Apply, in a new transaction, for
	// a single job that the database refused. It may leave out what is refused,
	// as long as it keeps account of it. Returning ErrNotSalvaged leaves the
	// job with the error that it had.
	Salvage Apply[T]
}

// ErrNotSalvaged is what Salvage returns for a job that it cannot help.
var ErrNotSalvaged = errors.New("not salvaged")

// Engine collects the jobs of one kind into transactions. Its goroutines start
// with the jobs and end with them: there is nothing to start or to close.
type Engine[T river.JobArgs] struct {
	options  Options
	db       Beginner
	kind     Kind[T]
	breaker  *breaker
	observer Observer
	counts   counters

	mu         sync.Mutex
	shards     map[int]int // transactions under way, by the shard of their first job
	executing  int         // jobs between the start of their execution and their verdict
	waiting    []*entry[T] // handed in and in no transaction yet, oldest first
	weight     int         // of those waiting
	committing int         // jobs in transactions
	committers int         // goroutines that collect or commit
	collecting bool        // one of them is collecting
	arrived    chan struct{}
	lastJob    time.Time // when a job was handed in last
	lastFull   time.Time // when as much waited as one transaction takes, or more
}

// entry is one job on its way through the engine.
type entry[T river.JobArgs] struct {
	job       *river.Job[T]
	weight    int
	shard     int
	alone     bool // it has a transaction of its own
	since     time.Time
	verdict   chan error    // receives exactly one value
	withdrawn chan struct{} // closed when the job's context ended after a transaction took it
	answered  bool          // owned by the committer
}

// New returns an engine that applies jobs of a kind in transactions of db.
func New[T river.JobArgs](db Beginner, options Options, kind Kind[T]) *Engine[T] {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Observer == nil {
		options.Observer = unobserved{}
	}
	return &Engine[T]{
		options: options, db: db, kind: kind,
		breaker:  newBreaker(options.Breaker, options.Logger),
		observer: options.Observer,
		arrived:  make(chan struct{}, 1),
		shards:   map[int]int{},
	}
}

// Work hands the job in and returns its verdict: nil when its effects and its
// completion are committed. It is what a river.Worker's Work calls.
//
// When ctx ends before a transaction took the job, the job is withdrawn and
// ctx's cause returned (a snooze when it was a deadline: nobody is at fault).
// After that Work waits for the transaction, whatever ctx says.
func (e *Engine[T]) Work(ctx context.Context, job *river.Job[T]) error {
	en := &entry[T]{
		job: job, weight: e.kind.Weigh(job), alone: !rollout.Includes(job.ID, e.options.RolloutPercent),
		since: time.Now(), verdict: make(chan error, 1), withdrawn: make(chan struct{}),
	}
	if e.kind.Shard != nil {
		en.shard = e.kind.Shard(job)
	}
	e.add(en)
	select {
	case err := <-en.verdict:
		return err
	case <-ctx.Done():
	}
	if e.withdraw(en) {
		return e.cutOff(ctx)
	}
	close(en.withdrawn)
	err := <-en.verdict
	if errors.Is(err, errWithdrawn) {
		return e.cutOff(ctx)
	}
	return err
}

// errWithdrawn is the verdict of a job whose context ended between two tries of
// its transaction.
var errWithdrawn = errors.New("withdrawn")

func (e *Engine[T]) cutOff(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("timed out before its transaction: %w", river.JobSnooze(e.options.SnoozeFor))
	}
	return cause
}

// add puts the entry in line and sees to it that somebody collects it.
func (e *Engine[T]) add(en *entry[T]) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting = append(e.waiting, en)
	e.weight += en.weight
	e.lastJob = en.since
	switch {
	case e.collecting:
		e.signal()
	case e.committers < e.options.Committers:
		e.committers++
		go e.committer()
	}
}

// Active tells whether a job was handed in within the given time.
func (e *Engine[T]) Active(within time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Since(e.lastJob) < within
}

// Backlog tells whether, within the given time, as many jobs waited as one
// transaction takes.
func (e *Engine[T]) Backlog(within time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return time.Since(e.lastFull) < within
}

func (e *Engine[T]) signal() {
	select {
	case e.arrived <- struct{}{}:
	default:
	}
}

// withdraw takes the entry out of the line; false when it is not in it.
func (e *Engine[T]) withdraw(en *entry[T]) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, other := range e.waiting {
		if other == en {
			e.waiting = slices.Delete(e.waiting, i, i+1)
			e.weight -= en.weight
			return true
		}
	}
	return false
}
