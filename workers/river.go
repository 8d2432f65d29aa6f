package workers

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
)

// River schedules and retries jobs, elects a leader, and works the jobs that
// wait for something other than PostgreSQL. It never fetches from a lane's queue.

const (
	// queueMaintenance never has jobs. It exists because River runs no maintenance in
	// a process that fetches from no queue.
	queueMaintenance = "worker_maintenance"
	// rescueAfter is when a running job returns to its queue: a token job, or a job of an
	// older worker without lanes.
	rescueAfter = 90 * time.Second
	// never is longer than anything runs.
	never = 100 * 365 * 24 * time.Hour
)

// riverNeeds returns the connections that River may use at once, and one for the
// maintenance that is not River's.
func riverNeeds(c config.Config) []dbpool.Need {
	needs := []dbpool.Need{
		{What: "fetcher of River", Conns: len(riverQueues(c))},
		{What: "completer", Conns: 1},
		{What: "elector", Conns: 1},
		{What: "maintenance", Conns: 3},
	}
	if c.RefreshesTokens() {
		needs = append(needs, dbpool.Need{What: "token leases", Conns: 1}, dbpool.Need{What: "token saves", Conns: 1}, dbpool.Need{What: "token job commits", Conns: 1})
	}
	return needs
}

func riverQueues(c config.Config) map[string]river.QueueConfig {
	queues := map[string]river.QueueConfig{queueMaintenance: {MaxWorkers: 1}}
	if c.RefreshesTokens() {
		queues[jobs.QueueTokens] = river.QueueConfig{MaxWorkers: 2 * c.Tokens.Workers}
	}
	return queues
}

func newRiverClient(pool *dbpool.Pool, c config.Config, clientID string, clock *queue.Clock, tokens *tokenWorker, logger *slog.Logger) (*river.Client[pgx.Tx], error) {
	registered := river.NewWorkers()
	river.AddWorker(registered, tokens)
	var periodic []*river.PeriodicJob
	if c.RefreshesTokens() {
		periodic = append(periodic, periodicRefresh(c))
	}
	client, err := river.NewClient(riverpgxv5.New(pool.Pool), &river.Config{
		ID:                clientID,
		Workers:           registered,
		Queues:            riverQueues(c),
		PeriodicJobs:      periodic,
		Schema:            c.River.Schema,
		PollOnly:          c.River.PollOnly,
		FetchPollInterval: c.River.FetchPollInterval,
		JobTimeout:        rescueAfter - 30*time.Second,
		// River's rescuer goes by its machine's clock: rescue does it.
		RescueStuckJobsAfter: never,
		// -1 is for ever: sweepFinished removes them.
		CompletedJobRetentionPeriod: -1,
		CancelledJobRetentionPeriod: -1,
		DiscardedJobRetentionPeriod: -1,
		SoftStopTimeout:             c.SoftStop(),
		// A reindex would wait for every older transaction, exceed this pool's
		// timeouts, and leave an invalid index each time.
		ReindexerIndexNames: []string{},
		Middleware:          []rivertype.Middleware{storableErrors()},
		ErrorHandler:        &failureLog{logger},
		Logger:              RiverLogger(logger),
		// Retries, snoozes, periodic jobs and completions are dated by this clock, in
		// production too: River has no other place for it.
		Test:  river.TestConfig{Time: clock},
		Hooks: []rivertype.Hook{createdBy(clock)},
	})
	if err != nil {
		return nil, fmt.Errorf("river client: %w", err)
	}
	return client, nil
}

// createdBy dates periodic jobs: River otherwise takes this machine's time.
func createdBy(clock *queue.Clock) rivertype.Hook {
	return river.HookInsertBeginFunc(func(_ context.Context, params *rivertype.JobInsertParams) error {
		params.CreatedAt = new(clock.Now())
		return nil
	})
}

// storableErrors removes NULs from error texts: River's completer writes them in
// bulk, and one that PostgreSQL refuses would permanently block the completion of
// every other job of this process.
func storableErrors() rivertype.Middleware {
	return river.WorkerMiddlewareFunc(func(ctx context.Context, _ *rivertype.JobRow, work func(context.Context) error) (err error) {
		defer func() {
			if value := recover(); value != nil {
				err = fmt.Errorf("panic: %v", value)
			}
			if err != nil && queue.WithoutNUL(err.Error()) != err.Error() {
				err = storableError{err}
			}
		}()
		return work(ctx)
	})
}

// storableError is an error whose text PostgreSQL accepts. It unwraps, so that
// cancel and snooze still match.
type storableError struct{ cause error }

func (e storableError) Error() string { return queue.WithoutNUL(e.cause.Error()) }
func (e storableError) Unwrap() error { return e.cause }
