// Package workers is what each kind of job does. It registers all kinds in one
// place: a process that leads River without knowing a kind would discard that
// kind's rescued jobs.
//
// Rule: whoever reads a user's activities in order to write them takes that
// user's lock first, users in ascending order, and holds it until commit.
package workers

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/groupcommit"
	"github.com/trainingmonkey/worker/internal/recovery"
	"github.com/trainingmonkey/worker/internal/tokenrefresh"
	"github.com/trainingmonkey/worker/jobs"
)

// Service drains the queues of one process.
type Service struct {
	config config.Config
	pool   *dbpool.Pool
	logger *slog.Logger
	client *river.Client[pgx.Tx]
	self   *recovery.Process
	ingest *ingestWorker
	recalc *recalcWorker

	backfill *backfillWorker
	tokens   *tokenWorker

	fetching *fetching
	refused  map[string]*refusals // by kind
	stopping atomic.Bool
}

// acwr.write: results are not even computed, or computed and only compared.
const (
	writeOff     = "off"
	writeCompare = "compare"
)

// queueNames are the queues that a process fetches from. What it leaves alone
// waits in the queue. That of tokens is one only where the secrets are that
// refreshing takes.
func queueNames(c config.Config) []string {
	names := []string{jobs.QueueIngest, jobs.QueueIngestBulk}
	if c.ACWR.Write != writeOff {
		names = append(names, jobs.QueueRecalc, jobs.QueueRecalcBulk, jobs.QueueBackfill)
	}
	if c.RefreshesTokens() {
		names = append(names, jobs.QueueTokens)
	}
	return names
}

// New prepares a service over pool, whose database must be migrated. It checks
// the connection budget, reads the columns of `activities`, and starts nothing.
func New(ctx context.Context, pool *dbpool.Pool, c config.Config, logger *slog.Logger) (*Service, error) {
	return NewObserved(ctx, pool, c, logger, nil)
}

// NewObserved is New with engines that tell their observers what they do.
func NewObserved(ctx context.Context, pool *dbpool.Pool, c config.Config, logger *slog.Logger, observe Observe) (*Service, error) {
	return newOver(ctx, pool, pool, c, logger, observe)
}

// newOver is NewObserved with the engines' transactions begun by commits.
func newOver(ctx context.Context, pool *dbpool.Pool, commits groupcommit.Beginner, c config.Config, logger *slog.Logger, observe Observe) (*Service, error) {
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
	live := ingester{
		upsert:         upsert,
		waiting:        inSchema(olderVersionsMayWaitQuery, c.River.Schema),
		enqueuer:       enqueuer,
		recalcPriority: jobs.PriorityLive,
		shards:         c.Batching.Committers,
	}
	bulk := live
	bulk.recalcPriority = jobs.PriorityBulk
	rc := &recalculator{rounding: rounding, writes: c.ACWR.Write != writeCompare, rolloutPercent: c.ACWR.RolloutPercent, logger: logger}
	recalc := groupcommit.Kind[recalcArgs]{
		Weigh: func(job *river.Job[recalcArgs]) int { return len(job.Args.ranges) },
		Shard: func(job *river.Job[recalcArgs]) int { return shardOf(job.Args.ranges[0].userID, c.Batching.Committers) },
		Apply: rc.apply,
	}
	observed := func(o groupcommit.Options, kind, lane string) groupcommit.Options {
		if observe != nil {
			o.Observer = observe(kind, lane)
		}
		return o
	}
	liveOptions := LiveOptions(c, logger)
	liveIngest := groupcommit.New(commits, observed(liveOptions, jobs.KindActivityIngest, LaneLive), live.kind())
	liveIsActive := func() bool { return liveIngest.Active(liveMemory) }
	recalcOptions := liveOptions
	recalcOptions.Patience = patience(liveIngest)
	bulkOptions := bulkOptions(c, logger, &gate{liveIsActive: liveIsActive, pace: bulkPace})
	backfillOptions := backfillOptions(c, logger, &gate{liveIsActive: liveIsActive, pace: backfillPace})
	bf := &backfiller{recalculator: rc, enqueuer: enqueuer, chunkRows: c.Backfill.ChunkRows}
	s := &Service{
		config: c, pool: pool, logger: logger,
		ingest: &ingestWorker{lanes: lanes[ingestArgs]{
			live:      liveIngest,
			bulk:      groupcommit.New(commits, observed(bulkOptions, jobs.KindActivityIngest, LaneBulk), bulk.kind()),
			bulkQueue: jobs.QueueIngestBulk,
		}},
		recalc: &recalcWorker{lanes: lanes[recalcArgs]{
			live:      groupcommit.New(commits, observed(recalcOptions, jobs.KindACWRRecalc, LaneLive), recalc),
			bulk:      groupcommit.New(commits, observed(bulkOptions, jobs.KindACWRRecalc, LaneBulk), recalc),
			bulkQueue: jobs.QueueRecalcBulk,
		}},
		backfill: &backfillWorker{engine: groupcommit.New(commits, observed(backfillOptions, jobs.KindACWRBackfill, LaneBulk), bf.kind())},
		fetching: newFetching(queuesOf(c)),
		refused:  newRefusals(),
	}
	clientID := newClientID()
	s.tokens = newTokenWorker(pool, commits, enqueuer, c, clientID, logger)
	s.self = recovery.New(pool, clientID, recovery.Options{
		RiverSchema: c.River.Schema,
		Interval:    c.Recovery.HeartbeatInterval,
		DeadAfter:   c.Recovery.DeadAfter,
		Timeout:     c.Database.AcquireTimeout + c.Database.LockTimeout,
		Logger:      logger,
	})
	if s.client, err = river.NewClient(riverpgxv5.New(pool.Pool), s.riverConfig(clientID)); err != nil {
		return nil, fmt.Errorf("river client: %w", err)
	}
	return s, nil
}

// LiveOptions are those of the engines for what athletes wait for.
func LiveOptions(c config.Config, logger *slog.Logger) groupcommit.Options {
	rollout := c.Batching.RolloutPercent
	if !c.Batching.Enabled {
		rollout = 0
	}
	return groupcommit.Options{
		RiverSchema:    c.River.Schema,
		MaxBatch:       c.Batching.MaxJobs,
		MaxWeight:      c.Batching.MaxActivities,
		Committers:     c.Batching.Committers,
		Linger:         c.Batching.Linger,
		FlushTimeout:   c.Batching.FlushTimeout,
		RetryFor:       c.Batching.RetryFor,
		SnoozeFor:      c.Batching.SnoozeFor,
		RolloutPercent: rollout,
		Breaker: groupcommit.BreakerOptions{
			Threshold: float64(c.Batching.BreakerPercent) / 100,
			Window:    c.Batching.BreakerWindow,
			Cooldown:  c.Batching.BreakerCooldown,
		},
		Logger: logger,
	}
}

// bulkOptions keep a bulk transaction short and alone: it holds the locks of
// its users and takes its share of the machine while athletes wait.
func bulkOptions(c config.Config, logger *slog.Logger, gate *gate) groupcommit.Options {
	o := LiveOptions(c, logger)
	o.Committers = 1
	o.MaxWeight = c.Batching.BulkActivities
	o.Gate = gate
	return o
}

// backfillOptions give each chunk a transaction of its own.
func backfillOptions(c config.Config, logger *slog.Logger, gate *gate) groupcommit.Options {
	o := LiveOptions(c, logger)
	o.Committers = c.Backfill.Workers
	o.MaxBatch = 1
	o.RolloutPercent = 0
	o.Gate = gate
	return o
}

// newClientID names this process for River and for the heartbeat: never the
// same twice, and an operator sees where it runs.
func newClientID() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), strings.ToLower(rand.Text()[:8]))
}

// bulkWorkers is how many bulk jobs a process holds at once. They may be large:
// it bounds memory.
const bulkWorkers = 32

func (s *Service) riverConfig(clientID string) *river.Config {
	c := s.config
	registered := river.NewWorkers()
	river.AddWorker(registered, s.ingest)
	river.AddWorker(registered, s.recalc)
	river.AddWorker(registered, s.backfill)
	river.AddWorker(registered, s.tokens)
	var periodic []*river.PeriodicJob
	if c.RefreshesTokens() {
		periodic = append(periodic, periodicRefresh(c))
	}
	return &river.Config{
		ID:                          clientID,
		Workers:                     registered,
		Queues:                      queuesOf(c),
		PeriodicJobs:                periodic,
		Schema:                      c.River.Schema,
		PollOnly:                    c.River.PollOnly,
		FetchCooldown:               c.River.FetchCooldown,
		FetchPollInterval:           c.River.FetchPollInterval,
		JobTimeout:                  noTimeout,
		CompletedJobRetentionPeriod: c.River.CompletedRetention,
		CancelledJobRetentionPeriod: 7 * 24 * time.Hour,
		SoftStopTimeout:             c.SoftStop(),
		Plugins:                     []rivertype.Plugin{s.fetching},
		Middleware:                  []rivertype.Middleware{s.self.Middleware(), guard(s.logger)},
		ErrorHandler:                &failureLog{s.logger},
		Logger:                      slog.New(newQuiet(s.logger.Handler())),
	}
}

// queuesOf sizes the live queues for the engine: twice the jobs that can be in
// transactions, so that the next batch fills while one commits.
func queuesOf(c config.Config) map[string]river.QueueConfig {
	queues := map[string]river.QueueConfig{}
	for _, name := range queueNames(c) {
		switch name {
		case jobs.QueueIngest, jobs.QueueRecalc:
			queues[name] = river.QueueConfig{MaxWorkers: 2 * c.Batching.MaxJobs * c.Batching.Committers}
		case jobs.QueueIngestBulk, jobs.QueueRecalcBulk:
			queues[name] = river.QueueConfig{MaxWorkers: bulkWorkers}
		case jobs.QueueBackfill:
			queues[name] = river.QueueConfig{MaxWorkers: 2 * c.Backfill.Workers}
		case jobs.QueueTokens:
			queues[name] = river.QueueConfig{MaxWorkers: 2 * c.Tokens.Workers}
		}
	}
	return queues
}

// Budget is everything of a process that may hold a connection at once.
func Budget(c config.Config) dbpool.Budget {
	budget := dbpool.Budget{
		{What: "ingest commits", Conns: c.Batching.Committers},
		{What: "recalc commits", Conns: c.Batching.Committers},
		{What: "bulk commits", Conns: 2},
		{What: "backfill commits", Conns: c.Backfill.Workers},
		{What: "fetches (one a queue)", Conns: len(queueNames(c))},
		{What: "completer", Conns: 1},
		{What: "elector", Conns: 1},
		{What: "maintenance", Conns: 3},
		{What: "heartbeat", Conns: 1},
		{What: "application reserve", Conns: c.Database.ApplicationReserve},
	}
	if c.RefreshesTokens() {
		budget = append(budget, dbpool.Need{What: "token leases", Conns: 1}, dbpool.Need{What: "token saves", Conns: 1}, dbpool.Need{What: "token job commits", Conns: 1})
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

// goodbyeTime is the part of the grace period that is kept for everything after
// the last job.
const goodbyeTime = time.Second

// running starts the client, calls until, and stops the client.
func (s *Service) running(ctx context.Context, until func(context.Context) error) error {
	s.tellTokens(ctx)
	if err := s.self.Join(ctx); err != nil {
		return fmt.Errorf("start working: %w", err)
	}
	// River's own context must outlive ctx: cancelling it would start the stop
	// before Stop can wait for it. So must the heartbeat: a process that drains
	// is alive.
	lasting := context.WithoutCancel(ctx)
	events, unsubscribe := s.client.Subscribe(river.EventKindJobCancelled, river.EventKindJobFailed)
	defer unsubscribe()
	if err := s.client.Start(lasting); err != nil {
		return fmt.Errorf("start working: %w", err)
	}
	background, endBackground := context.WithCancel(lasting)
	var wg sync.WaitGroup
	wg.Go(func() { s.self.Run(background) })
	wg.Go(func() { s.sweep(background) })
	wg.Go(func() { s.countRefused(background, events) })

	untilErr := until(ctx)
	s.stopping.Store(true)

	stopCtx, cancel := context.WithTimeout(lasting, s.config.Shutdown.Grace-goodbyeTime)
	defer cancel()
	s.tokens.stop()
	stopErr := s.client.Stop(stopCtx)
	endBackground()
	wg.Wait()
	leaveCtx, cancelLeave := context.WithTimeout(lasting, goodbyeTime/2)
	defer cancelLeave()
	if err := s.self.Leave(leaveCtx); err != nil {
		s.logger.WarnContext(lasting, "left without a goodbye, others notice later", slog.String("error", err.Error()))
	}
	if stopErr != nil {
		return fmt.Errorf("stop within shutdown.grace (%v): %w; unfinished jobs will be worked again", s.config.Shutdown.Grace, stopErr)
	}
	return untilErr
}

// Stopping tells whether the service fetches no more jobs.
func (s *Service) Stopping() bool { return s.stopping.Load() }

// Client is River's client of this process.
func (s *Service) Client() *river.Client[pgx.Tx] { return s.client }

// RecoveredByKind counts the jobs of dead processes that this one returned.
func (s *Service) RecoveredByKind() map[string]int64 { return s.self.RecoveredByKind() }

// QueueNames are the queues that a process fetches from.
func QueueNames() []string { return append(queueNames(config.Default()), jobs.QueueTokens) }

// Stats are what a process did so far.
type Stats struct {
	Ingest    groupcommit.Stats `json:"activity_ingest"`
	Recalc    groupcommit.Stats `json:"acwr_recalc"`
	Backfill  groupcommit.Stats `json:"acwr_backfill"`
	Tokens    groupcommit.Stats `json:"token_refresh"`
	Recovered int64             `json:"recovered"` // jobs of dead processes returned to their queues

	TokenUsers tokenrefresh.Stats `json:"token_users"`
}

// Stats returns the counts of both lanes together.
func (s *Service) Stats() Stats {
	return Stats{
		Ingest:    s.ingest.lanes.live.Stats().Plus(s.ingest.lanes.bulk.Stats()),
		Recalc:    s.recalc.lanes.live.Stats().Plus(s.recalc.lanes.bulk.Stats()),
		Backfill:  s.backfill.engine.Stats(),
		Tokens:    s.tokens.engine.Stats(),
		Recovered: s.self.Recovered(),

		TokenUsers: s.tokens.usersStats(),
	}
}

// inSchema puts the schema of River's tables into a query.
func inSchema(query, schema string) string {
	return strings.ReplaceAll(query, "{schema}", pgx.Identifier{schema}.Sanitize())
}
