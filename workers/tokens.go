package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/lane"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/internal/throughput"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/internal/tokens/refresh"
	"github.com/trainingmonkey/worker/jobs"
)

// tokenArgs is jobs.TokenRefresh as the worker reads it.
type tokenArgs struct {
	jobs.TokenRefresh
	fault error // instead of an error that River would retry
}

// UnmarshalJSON never returns an error; see tokenArgs.
func (args *tokenArgs) UnmarshalJSON(data []byte) error {
	args.TokenRefresh, args.fault = decodeArgs[jobs.TokenRefresh](data)
	return nil
}

// tokenWorker refreshes tokens. It is an ordinary River worker, because it waits for
// the provider and not for PostgreSQL. It stores each user's tokens as soon as it has
// them, so that a job repeated after a crash refreshes no user twice.
type tokenWorker struct {
	river.WorkerDefaults[tokenArgs]
	pool        *dbpool.Pool
	refresher   *refresh.Refresher // nil: this process refreshes none
	enqueuer    *jobs.Enqueuer
	riverSchema string
	throughput  *throughput.Count
	clock       *queue.Clock

	mu   sync.Mutex
	jobs lane.Stats
}

func newTokenWorker(pool *dbpool.Pool, enqueuer *jobs.Enqueuer, c config.Config, clientID string, clock *queue.Clock, count *throughput.Count, logger *slog.Logger) *tokenWorker {
	w := &tokenWorker{pool: pool, enqueuer: enqueuer, riverSchema: c.River.Schema, throughput: count, clock: clock}
	if !c.RefreshesTokens() {
		return w
	}
	store := tokens.New(pool, c.TokenKeys, c.River.Schema)
	provider := refresh.NewProvider(c.Tokens.TokenURL, c.Tokens.ClientID, c.TokensClientSecret, "trainingmonkey-worker", c.Tokens.HTTPTimeout, c.Tokens.Workers, clock.Now)
	w.refresher = refresh.New(store, provider, refresh.Options{
		ClientID: clientID, Workers: c.Tokens.Workers, Lease: leaseTimes * c.Tokens.HTTPTimeout,
		Limits: tokens.Limits{Quarter: c.Tokens.LimitQuarter, Day: c.Tokens.LimitDay},
		Logger: logger,
	})
	return w
}

// leaseTimes is the duration of a lease as a multiple of a request's timeout: the answer
// has to be stored before another process may ask. After a crash, another process asks
// only once the lease has expired.
const leaseTimes = 6

// Work implements river.Worker.
func (w *tokenWorker) Work(ctx context.Context, job *river.Job[tokenArgs]) error {
	err := w.work(ctx, job)
	w.count(job.JobRow, err)
	return err
}

// count adds an attempt to this process's counts, as a lane does.
func (w *tokenWorker) count(job *rivertype.JobRow, err error) {
	var cancelled *rivertype.JobCancelError
	var snoozed *rivertype.JobSnoozeError
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.jobs.Committed++
		w.throughput.Committed(w.clock.Now().Sub(job.CreatedAt))
		return
	case errors.As(err, &snoozed):
		return
	case errors.As(err, &cancelled):
		w.jobs.Cancelled++
	case job.Attempt >= job.MaxAttempts:
		w.jobs.Discarded++
	}
	w.jobs.Failed++
	w.throughput.Failed(1)
}

// stats returns the counts of token jobs in the form of a lane's.
func (w *tokenWorker) stats() LaneStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	return LaneStats{jobs.KindTokenRefresh, Live, w.jobs, lane.Status{Queue: jobs.QueueTokens}}
}

func (w *tokenWorker) work(ctx context.Context, job *river.Job[tokenArgs]) error {
	switch {
	case job.Args.fault != nil:
		return river.JobCancel(job.Args.fault)
	case w.refresher == nil: // the job came through a queue other than that of tokens
		return river.JobSnooze(time.Minute)
	case len(job.Args.UserIDs) > 0:
		return w.refresh(ctx, job)
	}
	err := w.plan(ctx, job)
	if err != nil && dbpool.Classify(err) == dbpool.Transient {
		return river.JobSnooze(tokenSnooze)
	}
	return err
}

// tokenSnooze is how long jobs wait if the database cannot be reached.
const tokenSnooze = 2 * time.Second

// plan enqueues jobs for the users whose tokens expire soon, and completes the
// job in the same transaction.
func (w *tokenWorker) plan(ctx context.Context, job *river.Job[tokenArgs]) error {
	within := time.Duration(job.Args.ExpiringWithin) * time.Second
	return w.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		users, err := tokens.Due(ctx, tx, w.riverSchema, within)
		if err != nil {
			return err
		}
		if _, err = w.enqueuer.RefreshTokensTx(ctx, tx, jobs.PriorityBulk, users, within); err != nil {
			return err
		}
		_, err = river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}

// maxSnooze is the max wait of a job before it checks again, whatever the
// provider said, because an operator may have changed the limits.
const maxSnooze = 15 * time.Minute

// refresh returns nil if all users of the job are done. A failed user costs the job an
// attempt; a user who has to wait does not. A user who has to authorize again is done,
// because a retry would not help.
func (w *tokenWorker) refresh(ctx context.Context, job *river.Job[tokenArgs]) error {
	wanted := tokens.Wanted{Within: time.Duration(job.Args.ExpiringWithin) * time.Second, Since: job.CreatedAt}
	result, err := w.refresher.Refresh(ctx, job.Args.UserIDs, wanted)
	switch {
	case err != nil && dbpool.Classify(err) == dbpool.Transient:
		return river.JobSnooze(tokenSnooze)
	case err != nil:
		return err
	case result.Failed > 0:
		users := "users"
		if len(job.Args.UserIDs) == 1 {
			users = "user"
		}
		return fmt.Errorf("%d of %d %s not refreshed, the first: %s", result.Failed, len(job.Args.UserIDs), users, result.First.Error())
	case result.Left > 0:
		return river.JobSnooze(min(result.Wait, maxSnooze))
	}
	return nil
}

// stop prevents further refreshes; those in progress get the grace period.
func (w *tokenWorker) stop() {
	if w.refresher != nil {
		w.refresher.Stop()
	}
}

// usersStats returns the counts of users, zero if this process refreshes no tokens.
func (w *tokenWorker) usersStats() refresh.Stats {
	if w.refresher == nil {
		return refresh.Stats{}
	}
	return w.refresher.Stats()
}

// periodicRefresh returns the periodic job that finds tokens that expire soon. While
// one is unfinished, no other is enqueued.
func periodicRefresh(c config.Config) *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(c.Tokens.RefreshEvery), func() (river.JobArgs, *river.InsertOpts) {
		args := jobs.TokenRefresh{ExpiringWithin: int64(tokens.RefreshBefore / time.Second)}
		o := args.InsertOpts()
		o.UniqueOpts = river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
		}}
		return args, &o
	}, &river.PeriodicJobOpts{RunOnStart: true})
}

// logTokens logs at the start if this process does not refresh tokens.
func (s *Service) logTokens(ctx context.Context) {
	missing := s.config.MissingForTokens()
	switch {
	case missing == "":
	case s.config.TokenKeys == nil && s.config.TokensClientSecret == "" && s.config.Tokens.ClientID == "":
		s.logger.InfoContext(ctx, "this process does not refresh tokens", slog.String("not_set", missing))
	default:
		s.logger.WarnContext(ctx, "this process does not refresh tokens: settings are missing", slog.String("not_set", missing))
	}
}
