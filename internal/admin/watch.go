package admin

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
)

const (
	// interval is how often a snapshot is taken.
	interval = 5 * time.Second
	// share is the divisor of the time that snapshots may take, so that a slow
	// database gets fewer.
	share = 20
	// maxUnasked bounds the time added to the interval while no snapshot is requested.
	maxUnasked = 15 * time.Second
	// Old is the age at which a snapshot is no longer current.
	Old = 30 * time.Second
	// maxEnqueued bounds how many new jobs are counted by kind in one snapshot. The
	// next one goes on from there.
	maxEnqueued = 100_000
)

// Watch keeps the newest snapshot in memory, so that showing it needs no query.
type Watch struct {
	pool    *dbpool.Pool
	options Options
	logger  *slog.Logger

	mu       sync.Mutex
	newest   Snapshot
	at       time.Time // by this machine's clock; zero before the first
	enqueued map[string]int64
	changed  chan struct{} // closed by the next snapshot

	now   chan struct{} // asks Run for a snapshot
	asked chan struct{} // the newest was requested

	countedTo, lastSeen int64 // job ids
	highestID           int64 // of a job, that a snapshot saw
}

// NewWatch returns a watch without a snapshot; Run takes them.
func NewWatch(pool *dbpool.Pool, o Options, logger *slog.Logger) *Watch {
	w := &Watch{pool: pool, options: o, logger: logger, enqueued: map[string]int64{}, changed: make(chan struct{}), now: make(chan struct{}, 1), asked: make(chan struct{}, 1)}
	for _, kind := range o.Kinds {
		w.enqueued[kind] = 0
	}
	return w
}

// Run takes snapshots until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	failing := false
	for {
		started := time.Now()
		err := w.TakeSnapshot(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			w.logger.WarnContext(ctx, "could not take a snapshot of the database, will try again", slog.String("error", err.Error()))
		}
		failing = err != nil
		took := time.Since(started)
		if failing { // a failed snapshot does not lengthen the pause: the database may be back
			took = 0
		}
		pause, more := w.pauses(took)
		select {
		case <-time.After(pause):
		case <-w.now:
			continue
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(more):
		case <-w.asked:
		case <-w.now:
		case <-ctx.Done():
			return
		}
	}
}

// pauses returns how long to wait after a snapshot that took this long, and how much longer
// while none is requested, so that many workers hardly load the database more than one.
func (w *Watch) pauses(took time.Duration) (pause, more time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	others := max(0, w.newest.Alive()-1)
	pause = max(interval, share*took)
	return pause, min(time.Duration(others)*pause, maxUnasked)
}

// TakeSnapshot takes a snapshot now.
func (w *Watch) TakeSnapshot(ctx context.Context) error {
	if w.options.Throttle != nil {
		w.options.Throttle.Lock()
		defer w.options.Throttle.Unlock()
	}
	s, err := Read(ctx, w.pool, w.options)
	if err != nil {
		return err
	}
	counted, to, err := w.countEnqueued(ctx)
	if err != nil {
		return err
	}
	if err := w.compareIDs(ctx, &s.JobIDs); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for kind, n := range counted {
		w.enqueued[kind] += n
	}
	if w.at.IsZero() {
		to = s.LastJobID
	}
	w.countedTo, w.lastSeen = to, max(w.lastSeen, s.LastJobID) // the newest row may have been deleted
	w.newest, w.at = s, time.Now()
	close(w.changed)
	w.changed = make(chan struct{})
	return nil
}

// Changed returns a channel that is closed by the next snapshot.
func (w *Watch) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// Hurry makes Run take a snapshot now, after a change that should be seen.
func (w *Watch) Hurry() {
	select {
	case w.now <- struct{}{}:
	default: // one is pending
	}
}

// Latest returns the newest snapshot and its age; false before the first. If it is older
// than the interval, Run takes another.
func (w *Watch) Latest() (s Snapshot, age time.Duration, ok bool) {
	select {
	case w.asked <- struct{}{}:
	default:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newest, time.Since(w.at), !w.at.IsZero()
}

// Enqueued returns, by kind, the number of jobs that any program enqueued since the watch
// began. It is a few seconds late.
func (w *Watch) Enqueued() map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.enqueued)
}

// countEnqueued counts up to the newest id of the previous snapshot, because
// transactions with lower ids have committed since, except very long ones.
func (w *Watch) countEnqueued(ctx context.Context) (byKind map[string]int64, to int64, err error) {
	to = max(w.countedTo, min(w.lastSeen, w.countedTo+maxEnqueued))
	if to == w.countedTo {
		return nil, to, nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.options.Timeout)
	defer cancel()
	err = pgx.BeginTxFunc(ctx, w.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		byKind, err = queue.Schema(w.options.RiverSchema).Enqueued(ctx, tx, w.countedTo, to, w.options.Kinds)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return byKind, to, nil
}
