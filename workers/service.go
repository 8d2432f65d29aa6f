// Package workers is what each kind of job does. It registers all kinds in one
// place: a process that leads River without knowing a kind would discard that
// kind's rescued jobs.
//
// Rule: whoever reads a user's activities in order to write them takes that
// user's lock first, users in ascending order, and holds it until commit.
package workers

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/groupcommit"
	"github.com/trainingmonkey/worker/jobs"
)

// Service drains the queues of one process.
type Service struct {
	config config.Config
	pool   *dbpool.Pool
	logger *slog.Logger
	client *river.Client[pgx.Tx]
	ingest *ingestWorker
	recalc *recalcWorker
}

// queueNames are the queues that a process fetches from.
var queueNames = []string{jobs.QueueIngest, jobs.QueueRecalc}

// New prepares a service over pool, whose database must be migrated. It checks
// the connection budget, reads the columns of `activities`, and starts nothing.
func New(ctx context.Context, pool *dbpool.Pool, c config.Config, logger *slog.Logger) (*Service, error) {
	if err := Budget(c).Check(int32(c.Database.MaxConns)); err != nil {
		return nil, err
	}
	rounding, err := acwr.ParseRounding(c.ACWR.Rounding)
	if err != nil {
		return nil, err
	}
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, c.River.Schema)
	if err != nil {
		return nil, err
	}
	upsert, err := upsertQuery(ctx, pool)
	if err != nil {
		return nil, err
	}
	in := &ingester{
		upsert:   upsert,
		waiting:  inSchema(olderVersionsMayWaitQuery, c.River.Schema),
		enqueuer: enqueuer,
	}
	rc := &recalculator{rounding: rounding}
	options := engineOptions(c, logger)
	s := &Service{
		config: c, pool: pool, logger: logger,
		ingest: &ingestWorker{
			timeout: c.JobTimeout(),
			engine: groupcommit.New(pool, options,
				func(job *river.Job[ingestArgs]) int { return len(job.Args.items) }, in.apply),
		},
		recalc: &recalcWorker{
			timeout: c.JobTimeout(),
			engine: groupcommit.New(pool, options,
				func(job *river.Job[recalcArgs]) int { return len(job.Args.ranges) }, rc.apply),
		},
	}
	if s.client, err = river.NewClient(riverpgxv5.New(pool.Pool), s.riverConfig()); err != nil {
		return nil, fmt.Errorf("river client: %w", err)
	}
	return s, nil
}

func engineOptions(c config.Config, logger *slog.Logger) groupcommit.Options {
	return groupcommit.Options{
		RiverSchema:  c.River.Schema,
		MaxBatch:     c.Batching.MaxJobs,
		MaxWeight:    c.Batching.MaxActivities,
		Committers:   c.Batching.Committers,
		Linger:       c.Batching.Linger,
		FlushTimeout: c.Batching.FlushTimeout,
		RetryFor:     c.Batching.RetryFor,
		SnoozeFor:    c.Batching.SnoozeFor,
		Logger:       logger,
	}
}

// riverConfig sizes the queues for the engine: twice the jobs that can be in
// transactions, so that the next batch fills while one commits.
func (s *Service) riverConfig() *river.Config {
	c := s.config
	registered := river.NewWorkers()
	river.AddWorker(registered, s.ingest)
	river.AddWorker(registered, s.recalc)
	queues := map[string]river.QueueConfig{}
	for _, name := range queueNames {
		queues[name] = river.QueueConfig{MaxWorkers: 2 * c.Batching.MaxJobs * c.Batching.Committers}
	}
	return &river.Config{
		Workers:                     registered,
		Queues:                      queues,
		Schema:                      c.River.Schema,
		PollOnly:                    c.River.PollOnly,
		FetchCooldown:               c.River.FetchCooldown,
		FetchPollInterval:           c.River.FetchPollInterval,
		JobTimeout:                  c.JobTimeout(),
		RescueStuckJobsAfter:        c.River.RescueAfter,
		CompletedJobRetentionPeriod: c.River.CompletedRetention,
		CancelledJobRetentionPeriod: 7 * 24 * time.Hour,
		SoftStopTimeout:             c.SoftStop(),
		Middleware:                  []rivertype.Middleware{guard(s.logger)},
		ErrorHandler:                &failureLog{s.logger},
		Logger:                      slog.New(quiet{s.logger.Handler()}),
	}
}

// Budget is everything of a process that may hold a connection at once.
func Budget(c config.Config) dbpool.Budget {
	budget := dbpool.Budget{
		{What: "ingest commits", Conns: c.Batching.Committers},
		{What: "recalc commits", Conns: c.Batching.Committers},
		{What: "fetches (one a queue)", Conns: len(queueNames)},
		{What: "completer", Conns: 1},
		{What: "elector", Conns: 1},
		{What: "maintenance", Conns: 3},
		{What: "application reserve", Conns: c.Database.ApplicationReserve},
	}
	return budget
}

// Run drains the queues until ctx ends, then stops: no more fetching, what is
// running finishes and commits, attempts are not spent. It returns within the
// grace period.
func (s *Service) Run(ctx context.Context) error {
	return s.running(ctx, func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})
}

// Drain works until the queues are empty, or until ctx ends.
func (s *Service) Drain(ctx context.Context) error {
	return s.running(ctx, s.waitUntilEmpty)
}

// running starts the client, calls until, and stops the client.
func (s *Service) running(ctx context.Context, until func(context.Context) error) error {
	// River's own context must outlive ctx: cancelling it would start the stop
	// before Stop can wait for it.
	if err := s.client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start working: %w", err)
	}
	sweepCtx, stopSweep := context.WithCancel(ctx)
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		s.sweepVersions(sweepCtx)
	}()
	untilErr := until(ctx)
	stopSweep()
	<-swept
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Shutdown.Grace)
	defer cancel()
	if err := s.client.Stop(stopCtx); err != nil {
		return fmt.Errorf("stop within shutdown.grace (%v): %w; unfinished jobs will be worked again", s.config.Shutdown.Grace, err)
	}
	return untilErr
}

// Stats are the counts of the engines, by kind of job.
type Stats struct {
	Ingest groupcommit.Stats `json:"activity_ingest"`
	Recalc groupcommit.Stats `json:"acwr_recalc"`
}

// Stats returns what the engines did so far.
func (s *Service) Stats() Stats {
	return Stats{Ingest: s.ingest.engine.Stats(), Recalc: s.recalc.engine.Stats()}
}

// inSchema puts the schema of River's tables into a query.
func inSchema(query, schema string) string {
	return strings.ReplaceAll(query, "{schema}", pgx.Identifier{schema}.Sanitize())
}
