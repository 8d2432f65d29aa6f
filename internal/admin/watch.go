package admin

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
)

const (
	// interval is how often a snapshot is taken.
	interval = 5 * time.Second
	// share is the part of the time, as a divisor, that may go into taking
	// them: a slow database is asked less often.
	share = 20
	// maxUnasked bounds what is added to the interval while nobody asks.
	maxUnasked = 15 * time.Second
	// Old is the age from which on a snapshot says nothing about now.
	Old = 30 * time.Second
	// maxEnqueued bounds how many new jobs are counted by kind at one look. The
	// next look goes on from there.
	maxEnqueued = 100_000
)

// Watch keeps the newest snapshot at hand, so that nothing that shows it asks
// the database.
type Watch struct {
	db      Beginner
	options Options
	logger  *slog.Logger

	mu       sync.Mutex
	newest   Snapshot
	at       time.Time // by this machine's clock; zero before the first
	enqueued map[string]int64
	changed  chan struct{} // closed by the next snapshot

	now   chan struct{} // asks Run for a snapshot
	asked chan struct{} // somebody wanted the newest

	countedTo, lastSeen int64 // job ids
}

// NewWatch returns a watch that knows nothing before it runs.
func NewWatch(db Beginner, o Options, logger *slog.Logger) *Watch {
	w := &Watch{db: db, options: o, logger: logger, enqueued: map[string]int64{}, changed: make(chan struct{}), now: make(chan struct{}, 1), asked: make(chan struct{}, 1)}
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
		err := w.Look(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			w.logger.WarnContext(ctx, "no overview, will try again", slog.String("error", err.Error()))
		}
		failing = err != nil
		took := time.Since(started)
		if failing { // it took as long as it may, and the database may be back
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

// pauses are how long to wait after a snapshot that took so long, whoever asks, and
// how long more while nobody does: all workers together are not to keep the database
// much busier with it than one.
func (w *Watch) pauses(took time.Duration) (pause, more time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	others := -1
	for _, p := range w.newest.Processes {
		if p.Alive {
			others++
		}
	}
	pause = max(interval, share*took)
	return pause, min(time.Duration(max(0, others))*pause, maxUnasked)
}

// Look takes a snapshot now.
func (w *Watch) Look(ctx context.Context) error {
	if w.options.Gate != nil {
		w.options.Gate.Lock()
		defer w.options.Gate.Unlock()
	}
	s, err := Read(ctx, w.db, w.options)
	if err != nil {
		return err
	}
	counted, to, err := w.countEnqueued(ctx)
	if err != nil {
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
	w.newest, w.at = s, time.Now()
	close(w.changed)
	w.changed = make(chan struct{})
	w.countedTo, w.lastSeen = to, max(w.lastSeen, s.LastJobID) // the newest row may have been deleted
	return nil
}

// Changed returns a channel that is closed when a snapshot newer than the one that
// Latest returns now is there.
func (w *Watch) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// Hurry has Run take a snapshot now: somebody changed something and wants to see it.
func (w *Watch) Hurry() {
	select {
	case w.now <- struct{}{}:
	default: // it is going to
	}
}

// Latest returns the newest snapshot and its age; false before the first. Where that
// is older than the interval, Run takes another.
func (w *Watch) Latest() (s Snapshot, age time.Duration, ok bool) {
	select {
	case w.asked <- struct{}{}:
	default:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newest, time.Since(w.at), !w.at.IsZero()
}

// Enqueued counts the jobs by kind that were enqueued since the watch began, by
// whomever, a few seconds late.
func (w *Watch) Enqueued() map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.enqueued)
}

// countEnqueued counts up to the newest id of the previous look: transactions
// that took their ids before that have committed meanwhile, but for very long
// ones.
func (w *Watch) countEnqueued(ctx context.Context) (byKind map[string]int64, to int64, err error) {
	to = max(w.countedTo, min(w.lastSeen, w.countedTo+maxEnqueued))
	if to == w.countedTo {
		return nil, to, nil
	}
	ctx, cancel := context.WithTimeout(ctx, w.options.Timeout)
	defer cancel()
	err = pgx.BeginTxFunc(ctx, w.db, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) (err error) {
		byKind, err = queue.Schema(w.options.RiverSchema).Enqueued(ctx, tx, w.countedTo, to, w.options.Kinds)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return byKind, to, nil
}
