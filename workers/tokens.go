package workers

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
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
	if err := json.Unmarshal(data, &args.TokenRefresh); err != nil {
		args.fault = fmt.Errorf("args do not decode: %w", err)
	} else if err := args.Validate(); err != nil {
		args.fault = fmt.Errorf("args do not decode: %w", err)
	}
	return nil
}

// tokenWorker refreshes tokens, as a plain worker of River's: it waits for the provider
// and not for PostgreSQL. Each user's tokens are stored as soon as they are there, so
// that a job repeated after a crash refreshes no user twice.
type tokenWorker struct {
	river.WorkerDefaults[tokenArgs]
	pool        *dbpool.Pool
	refresher   *refresh.Refresher // nil: this process refreshes none
	enqueuer    *jobs.Enqueuer
	riverSchema string
}

func newTokenWorker(pool *dbpool.Pool, enqueuer *jobs.Enqueuer, c config.Config, clientID string, logger *slog.Logger) *tokenWorker {
	w := &tokenWorker{pool: pool, enqueuer: enqueuer, riverSchema: c.River.Schema}
	if !c.RefreshesTokens() {
		return w
	}
	store := tokens.New(pool, c.TokenKeys, c.River.Schema)
	saver := tokens.NewSaver(store, tokens.SaverOptions{MaxBatch: c.Tokens.SaveBatch, MaxWait: c.Tokens.SaveLinger, Timeout: c.Batching.TransactionTimeout})
	provider := refresh.NewProvider(c.Tokens.TokenURL, c.Tokens.ClientID, c.TokensClientSecret, "trainingmonkey-worker", c.Tokens.HTTPTimeout, c.Tokens.Workers)
	w.refresher = refresh.New(store, saver, provider, refresh.Options{
		ClientID: clientID, Workers: c.Tokens.Workers, Lease: c.Tokens.Lease,
		Limits: tokens.Limits{Quarter: c.Tokens.LimitQuarter, Day: c.Tokens.LimitDay},
		Logger: logger,
	})
	return w
}

// Work implements river.Worker.
func (w *tokenWorker) Work(ctx context.Context, job *river.Job[tokenArgs]) error {
	switch {
	case job.Args.fault != nil:
		return river.JobCancel(job.Args.fault)
	case w.refresher == nil: // the job came through another queue than that of tokens
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

// tokenSnooze is how long jobs wait when the database cannot be reached.
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

// maxSnooze is how long a job waits at most before it checks again, whatever
// the provider said: an operator may have changed the limits.
const maxSnooze = 15 * time.Minute

// refresh returns nil when all users of the job are done. A failed user costs the job an
// attempt; a user who has to wait does not. A user who has to authorize again is done:
// trying again would not help.
func (w *tokenWorker) refresh(ctx context.Context, job *river.Job[tokenArgs]) error {
	wanted := tokens.Wanted{Within: time.Duration(job.Args.ExpiringWithin) * time.Second, Since: job.CreatedAt}
	result, err := w.refresher.Refresh(ctx, job.Args.UserIDs, wanted)
	switch {
	case err != nil && dbpool.Classify(err) == dbpool.Transient:
		return river.JobSnooze(tokenSnooze)
	case err != nil:
		return err
	case result.Failed > 0:
		return fmt.Errorf("%d of %d users not refreshed, the first: %s", result.Failed, len(job.Args.UserIDs), result.First.Error())
	case result.Left > 0:
		return river.JobSnooze(min(result.Wait, maxSnooze))
	}
	return nil
}

// stop starts no further refreshes; those in progress get the grace period.
func (w *tokenWorker) stop() {
	if w.refresher != nil {
		w.refresher.Stop()
	}
}

// usersStats returns what became of users.
func (w *tokenWorker) usersStats() refresh.Stats {
	if w.refresher == nil {
		return refresh.Stats{}
	}
	return w.refresher.Stats()
}

// periodicRefresh finds tokens that expire soon. While one waits, no other is enqueued.
func periodicRefresh(c config.Config) *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(c.Tokens.RefreshEvery), func() (river.JobArgs, *river.InsertOpts) {
		args := jobs.TokenRefresh{ExpiringWithin: int64(c.Tokens.RefreshBefore / time.Second)}
		o := args.InsertOpts()
		o.UniqueOpts = river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
		}}
		return args, &o
	}, &river.PeriodicJobOpts{RunOnStart: true})
}

// logTokens says at the start whether tokens are refreshed here.
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
