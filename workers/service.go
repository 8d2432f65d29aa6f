// Package workers runs the work of a process: it has the table of lanes, and
// what each kind of job does with a batch.
//
// Rule: a transaction that reads a user's activities in order to write them first takes
// that user's lock, users in ascending order, and keeps it until the commit.
package workers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/lane"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/internal/throughput"
	"github.com/trainingmonkey/worker/internal/tokens/refresh"
	"github.com/trainingmonkey/worker/jobs"
)

// Service drains the queues of one process.
type Service struct {
	config  config.Config
	pool    *dbpool.Pool
	logger  *slog.Logger
	lanes   []drainingLane
	process *queue.Process
	client  *river.Client[pgx.Tx]
	tokens  *tokenWorker

	throughput *throughput.Recorder

	maintenance sync.Mutex // held while a lane checks for jobs it passed, or old rows are deleted: together they need one connection
	stopping    atomic.Bool
}

// Values of acwr.write. The third, compare, computes results and only compares them.
const (
	writeOff = "off"
	writeOn  = "on"
)

// Observe returns the observer of the lane of a kind and class.
type Observe func(kind, class string) lane.Observer

// New prepares a service over pool, whose database must be migrated. It checks
// the connection budget, reads the columns of `activities`, and starts nothing. The
// lanes notify the observers that observe returns, unless it is nil.
func New(ctx context.Context, pool *dbpool.Pool, c config.Config, logger *slog.Logger, observe Observe) (*Service, error) {
	return newOver(ctx, pool, pool, c, logger, observe)
}

// newOver is New with lanes whose transactions db begins.
func newOver(ctx context.Context, pool *dbpool.Pool, db lane.DB, c config.Config, logger *slog.Logger, observe Observe) (*Service, error) {
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
	statements, err := activityStatementsFor(ctx, pool)
	if err != nil {
		return nil, err
	}
	rc := &recalculator{rounding: rounding, write: c.ACWR.Write, rolloutPercent: c.ACWR.RolloutPercent, logger: logger}
	client := queue.ClientID(strings.ToLower(rand.Text()[:8]))
	caution := &lane.Caution{}
	s := &Service{config: c, pool: pool, logger: logger, throughput: throughput.NewRecorder(pool, c.River.Schema, logger)}

	timeout := c.Database.AcquireTimeout + config.LockTimeout
	s.process = queue.NewProcess(pool, queue.Schema(c.River.Schema), client, laneQueues(c), queue.Writing{Mode: c.ACWR.Write, RolloutPercent: c.ACWR.RolloutPercent}, timeout, caution.Raise, logger)

	for _, row := range laneTable(c) {
		o := row.options(c, client, caution, &s.maintenance, s.newThrottle(row), logger)
		observer := counted{count: s.throughput.Count(row.Kind)}
		if observe != nil {
			observer.next = observe(row.Kind, row.Class)
		}
		o.Observer, o.Now = observer, s.process.Clock.Now
		var r runner
		switch row.Kind {
		case jobs.KindActivityIngest:
			in := &ingester{statements: statements, schema: o.Schema, enqueuer: enqueuer, recalculator: rc, recalcPriority: jobs.PriorityLive}
			if row.Class == Bulk {
				in.recalcPriority = jobs.PriorityBulk
			}
			r = lane.New(db, o, in.kind())
		case jobs.KindACWRRecalc:
			r = lane.New(db, o, rc.kind())
		case jobs.KindACWRBackfill:
			r = lane.New(db, o, (&backfiller{recalculator: rc, enqueuer: enqueuer, chunkRows: c.Backfill.ChunkRows}).kind())
		}
		s.lanes = append(s.lanes, drainingLane{row, r})
	}

	s.tokens = newTokenWorker(pool, enqueuer, c, client, &s.process.Clock, s.throughput.Count(jobs.KindTokenRefresh), logger)
	if s.client, err = newRiverClient(pool, c, client, &s.process.Clock, s.tokens, logger); err != nil {
		return nil, err
	}
	return s, nil
}

// newThrottle returns the throttle that makes bulk transactions give way to athletes' jobs.
func (s *Service) newThrottle(row laneRow) *throttle {
	t := &throttle{pace: bulkPace, liveIsActive: func() bool { return s.lanes[0].Active(liveMemory) }}
	if row.Kind == jobs.KindACWRBackfill {
		t.pace = backfillPace
	}
	return t
}

// laneQueues returns the names of the queues that the lanes drain.
func laneQueues(c config.Config) (names []string) {
	for _, row := range laneTable(c) {
		names = append(names, row.Queue)
	}
	return names
}

// QueueNames returns the names of the queues that a process serves, including
// that of tokens.
func QueueNames() []string {
	return append(laneQueues(config.Default()), jobs.QueueTokens)
}

// applicationReserve is how many connections are reserved for everything that is not
// queue work: one for readiness, and one for requests and snapshots, one at a time.
const applicationReserve = 2

// Budget returns everything in a process that may use a connection at once.
func Budget(c config.Config) dbpool.Budget {
	var budget dbpool.Budget
	for _, row := range laneTable(c) {
		budget = append(budget, dbpool.Need{What: row.Queue, Conns: row.Loops})
	}
	budget = append(budget, riverNeeds(c)...)
	return append(budget,
		dbpool.Need{What: "heartbeat", Conns: 1},
		dbpool.Need{What: "application reserve", Conns: applicationReserve})
}

// Run drains the queues until ctx ends, then stops: it claims no more jobs, commits the
// transactions under way, and spends no attempt. It returns within the grace period.
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

// deregisterTime is the part of the grace period reserved for everything after
// the last job.
const deregisterTime = time.Second

// running starts the lanes and River, calls until, and stops them.
func (s *Service) running(ctx context.Context, until func(context.Context) error) error {
	s.logTokens(ctx)
	if err := s.process.Register(ctx); err != nil {
		return fmt.Errorf("start working: %w", err)
	}
	// River's context must outlive ctx, because cancelling it would begin the stop before
	// Stop can wait for it. The heartbeat must too: a process that is draining is alive.
	lasting := context.WithoutCancel(ctx)
	if err := s.client.Start(lasting); err != nil {
		return fmt.Errorf("start working: %w", err)
	}
	background, endBackground := context.WithCancel(lasting)
	var wg sync.WaitGroup
	wg.Go(func() { s.process.Run(background) })
	wg.Go(func() { s.throughput.Run(background) })
	if !s.config.River.PollOnly {
		wg.Go(func() {
			queue.Schema(s.config.River.Schema).Listen(background, s.pool.Config().ConnConfig, s.logger, s.wake)
		})
	}
	working, stopWorking := context.WithCancel(lasting)
	wg.Go(func() { s.sweep(working) })
	wg.Go(func() { s.rescue(working) })
	var lanes sync.WaitGroup
	for _, l := range s.lanes {
		lanes.Go(func() { l.Run(working) })
	}

	untilErr := until(ctx)
	s.stopping.Store(true)

	stopCtx, cancel := context.WithTimeout(lasting, s.config.Shutdown.Grace-deregisterTime)
	defer cancel()
	s.tokens.stop()
	stopWorking()
	stopErr := errors.Join(s.client.Stop(stopCtx), waitFor(stopCtx, &lanes))
	endBackground()
	wg.Wait()
	s.writeThroughput(lasting)
	deregistering, cancelDeregistering := context.WithTimeout(lasting, deregisterTime/2)
	defer cancelDeregistering()
	if err := s.process.Deregister(deregistering); err != nil {
		s.logger.WarnContext(lasting, "could not deregister; other workers will count this one as dead", slog.String("error", err.Error()))
	}
	if stopErr != nil {
		return fmt.Errorf("stop within shutdown.grace (%v): %w; unfinished jobs will be worked again", s.config.Shutdown.Grace, stopErr)
	}
	return untilErr
}

func waitFor(ctx context.Context, wg *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		wg.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wake makes the lane of a queue claim jobs, or all lanes if queue is "".
func (s *Service) wake(queue string) {
	for _, l := range s.lanes {
		if queue == "" || queue == l.Queue {
			l.Wake()
		}
	}
}

// Stopping reports whether the service has stopped claiming jobs.
func (s *Service) Stopping() bool { return s.stopping.Load() }

// Client is River's client of this process.
func (s *Service) Client() *river.Client[pgx.Tx] { return s.client }

// Stats are the counts of a process since its start.
type Stats struct {
	Ingest     lane.Stats    `json:"activity_ingest"`
	Recalc     lane.Stats    `json:"acwr_recalc"`
	Backfill   lane.Stats    `json:"acwr_backfill"`
	TokenUsers refresh.Stats `json:"token_users"`
}

// Stats returns the counts of each kind, the sum of live and bulk.
func (s *Service) Stats() Stats {
	byKind := map[string]lane.Stats{}
	for _, l := range s.lanes {
		byKind[l.Kind] = byKind[l.Kind].Plus(l.Stats())
	}
	return Stats{
		Ingest: byKind[jobs.KindActivityIngest], Recalc: byKind[jobs.KindACWRRecalc], Backfill: byKind[jobs.KindACWRBackfill],
		TokenUsers: s.tokens.usersStats(),
	}
}

// LaneStats are the counts and the status of one lane.
type LaneStats struct {
	Kind, Class string
	lane.Stats
	lane.Status
}

// Lanes returns the counts of each lane, and of the jobs that River works.
func (s *Service) Lanes() (all []LaneStats) {
	for _, l := range s.lanes {
		all = append(all, LaneStats{l.Kind, l.Class, l.Stats(), l.Status()})
	}
	if s.tokens.refresher != nil {
		all = append(all, s.tokens.stats())
	}
	return all
}
