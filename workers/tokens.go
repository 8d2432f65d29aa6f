package workers

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/groupcommit"
	"github.com/trainingmonkey/worker/internal/pgfault"
	"github.com/trainingmonkey/worker/internal/tokenrefresh"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/jobs"
)

// tokenArgs is jobs.TokenRefresh as the worker reads it.
type tokenArgs struct {
	jobs.TokenRefresh
	fault   error // instead of an error that River would retry
	verdict error // of the refreshing, for the transaction that ends the job
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

// tokenWorker refreshes tokens. Each user's are stored as soon as they are
// there, in transactions that users of any job share; what the engine commits is
// the end of the job alone, fenced.
type tokenWorker struct {
	river.WorkerDefaults[tokenArgs]
	engine      *groupcommit.Engine[tokenArgs]
	refresher   *tokenrefresh.Refresher // nil: this process refreshes none
	provider    *tokenrefresh.Provider
	enqueuer    *jobs.Enqueuer
	riverSchema string
	snoozeFor   time.Duration
}

func newTokenWorker(pool *dbpool.Pool, commits groupcommit.Beginner, enqueuer *jobs.Enqueuer, c config.Config, clientID string, logger *slog.Logger) *tokenWorker {
	w := &tokenWorker{enqueuer: enqueuer, riverSchema: c.River.Schema, snoozeFor: c.Batching.SnoozeFor}
	o := LiveOptions(c, logger)
	o.Committers, o.MaxBatch, o.RolloutPercent = 1, 1, 0
	w.engine = groupcommit.New(commits, o, groupcommit.Kind[tokenArgs]{
		Weigh: func(*river.Job[tokenArgs]) int { return 1 },
		Apply: w.apply,
	})
	if !c.RefreshesTokens() {
		return w
	}
	store := tokens.New(pool, c.TokenKeys, c.River.Schema)
	saver := tokens.NewSaver(store, tokens.SaverOptions{MaxBatch: c.Tokens.SaveBatch, Linger: c.Tokens.SaveLinger, Timeout: c.Batching.FlushTimeout})
	w.provider = tokenrefresh.NewProvider(c.Tokens.TokenURL, c.Tokens.ClientID, c.TokensClientSecret, "trainingmonkey-worker", c.Tokens.HTTPTimeout, c.Tokens.Workers)
	w.refresher = tokenrefresh.New(store, saver, w.provider, tokenrefresh.Options{
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
	case w.refresher == nil: // it came through another queue than that of tokens
		return river.JobSnooze(time.Minute)
	case len(job.Args.UserIDs) > 0:
		job.Args.verdict = w.refresh(ctx, job)
	}
	if err := w.engine.Work(ctx, job); err != nil {
		return err
	}
	return groupcommit.Committed
}

// Timeout implements river.Worker.
func (w *tokenWorker) Timeout(*river.Job[tokenArgs]) time.Duration { return noTimeout }

// Middleware implements river.Worker.
func (w *tokenWorker) Middleware(*rivertype.JobRow) []rivertype.WorkerMiddleware {
	return []rivertype.WorkerMiddleware{w.engine.Middleware()}
}

// longestSnooze is how long a job waits at most before it looks again, whatever
// the provider said: an operator may have changed the limits.
const longestSnooze = 15 * time.Minute

// refresh returns nil when nothing is left to do for the users of the job. Those
// who failed cost the job an attempt; those who have to wait do not. A user who
// has to authorize again is done: trying again would not help.
func (w *tokenWorker) refresh(ctx context.Context, job *river.Job[tokenArgs]) error {
	wanted := tokens.Wanted{Within: time.Duration(job.Args.ExpiringWithin) * time.Second, Since: job.CreatedAt}
	result, err := w.refresher.Refresh(ctx, job.Args.UserIDs, wanted)
	switch {
	case err != nil && pgfault.Of(err) == pgfault.Transient:
		return river.JobSnooze(w.snoozeFor)
	case err != nil:
		return err
	case result.Failed > 0:
		return fmt.Errorf("%d of %d users not refreshed, the first: %s", result.Failed, len(job.Args.UserIDs), result.First.Error())
	case result.Left > 0:
		return river.JobSnooze(min(result.Wait, longestSnooze))
	}
	return nil
}

// apply ends a job of users as the refreshing went, and plans one without.
func (w *tokenWorker) apply(ctx context.Context, tx pgx.Tx, batch []*river.Job[tokenArgs]) error {
	args := batch[0].Args
	if args.verdict != nil || len(args.UserIDs) > 0 {
		return args.verdict
	}
	within := time.Duration(args.ExpiringWithin) * time.Second
	users, err := tokens.Due(ctx, tx, w.riverSchema, within)
	if err != nil {
		return err
	}
	_, err = w.enqueuer.RefreshTokensTx(ctx, tx, jobs.PriorityBulk, users, within)
	return err
}

// stop has nobody be refreshed who is not yet: those who are get what grace there
// is.
func (w *tokenWorker) stop() {
	if w.refresher != nil {
		w.refresher.Stop()
	}
}

// usersStats returns what became of users.
func (w *tokenWorker) usersStats() tokenrefresh.Stats {
	if w.refresher == nil {
		return tokenrefresh.Stats{}
	}
	return w.refresher.Stats()
}

// periodicRefresh looks for tokens that expire soon. One that still waits makes
// the next one superfluous.
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

// tellTokens says at the start whether tokens are refreshed here.
func (s *Service) tellTokens(ctx context.Context) {
	missing := s.config.MissingForTokens()
	switch {
	case missing == "":
	case s.config.TokenKeys == nil && s.config.TokensClientSecret == "" && s.config.Tokens.ClientID == "":
		s.logger.InfoContext(ctx, "tokens are not refreshed by this process", slog.String("not_set", missing))
	default:
		s.logger.WarnContext(ctx, "tokens are not refreshed by this process: not everything is set that it needs", slog.String("not_set", missing))
	}
}
