package metrics

import (
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trainingmonkey/worker/workers"
)

// poolCollector reads the pool's own counts.
type poolCollector struct {
	stat func() *pgxpool.Stat

	connections, most, utilization, acquires, waits, waited, opened *prometheus.Desc
}

func newPoolCollector(stat func() *pgxpool.Stat) *poolCollector {
	return &poolCollector{
		stat:        stat,
		connections: description("pool_connections", "Connections of the pool by state: in_use, idle, connecting.", "state"),
		most:        description("pool_max_connections", "database.max_conns."),
		utilization: description("pool_utilization_ratio", "Share of database.max_conns that is in use."),
		acquires:    description("pool_acquires_total", "Connections that callers got from the pool."),
		waits:       description("pool_waits_total", "Of those: had to wait, because none was idle."),
		waited:      description("pool_wait_seconds_total", "Time that these waited."),
		opened:      description("pool_connections_opened_total", "Connections that were made."),
	}
}

// Describe implements prometheus.Collector.
func (c *poolCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *poolCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.stat()
	gauge(ch, c.connections, float64(s.AcquiredConns()), "in_use")
	gauge(ch, c.connections, float64(s.IdleConns()), "idle")
	gauge(ch, c.connections, float64(s.ConstructingConns()), "connecting")
	gauge(ch, c.most, float64(s.MaxConns()))
	gauge(ch, c.utilization, float64(s.AcquiredConns())/float64(max(1, s.MaxConns())))
	counter(ch, c.acquires, float64(s.AcquireCount()))
	counter(ch, c.waits, float64(s.EmptyAcquireCount()))
	counter(ch, c.waited, s.EmptyAcquireWaitTime().Seconds())
	counter(ch, c.opened, float64(s.NewConnsCount()))
}

// circuits are the states of an engine's circuit breaker.
var circuits = []string{"closed", "half-open", "open"}

// serviceCollector reads the counts that the service keeps anyway.
type serviceCollector struct {
	service *workers.Service

	worked, failed, cancelled, discarded, snoozed, takenOver, recovered *prometheus.Desc
	retries, bisections, circuit                                        *prometheus.Desc
	fetches, fetchAge, executing, slots, draining                       *prometheus.Desc
}

func newServiceCollector(service *workers.Service) *serviceCollector {
	return &serviceCollector{
		service:    service,
		worked:     description("jobs_worked_total", "Jobs whose effects this process committed.", engineLabels...),
		failed:     description("jobs_failed_total", "Attempts at jobs that failed for a reason of the job's own.", engineLabels...),
		cancelled:  description("jobs_cancelled_total", "Of the failed: will never be tried again, because trying cannot help.", engineLabels...),
		discarded:  description("jobs_discarded_total", "Of the failed: will not be tried again, that was the last attempt.", engineLabels...),
		snoozed:    description("jobs_snoozed_total", "Jobs given back without spending an attempt, because the database stayed out of reach.", engineLabels...),
		takenOver:  description("jobs_taken_over_total", "Jobs that another process had taken over before this one could commit.", engineLabels...),
		recovered:  description("jobs_recovered_total", "Jobs of dead processes that this one returned to their queues.", "kind"),
		retries:    description("batch_retries_total", "Transactions of batches that were run again through nobody's fault.", engineLabels...),
		bisections: description("batch_bisections_total", "Batches that were split in search of a guilty job.", engineLabels...),
		circuit:    description("circuit_state", "1 for the state of the circuit breaker: closed (batching), half-open, open (one job per transaction).", "kind", "lane", "state"),
		fetches:    description("fetches_total", "Fetches that succeeded.", "queue"),
		fetchAge:   description("fetch_age_seconds", "Time since the last fetch that succeeded. Queues that are paused or whose slots are all taken are not fetched from.", "queue"),
		executing:  description("jobs_executing", "Jobs that this process has in hand.", "queue"),
		slots:      description("job_slots", "Jobs that this process takes in hand at most.", "queue"),
		draining:   description("draining", "1 while the process finishes what is running and fetches no more."),
	}
}

// Describe implements prometheus.Collector.
func (c *serviceCollector) Describe(ch chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(c, ch)
}

// Collect implements prometheus.Collector.
func (c *serviceCollector) Collect(ch chan<- prometheus.Metric) {
	kinds := map[string]bool{}
	for _, e := range c.service.Engines() {
		counter(ch, c.worked, float64(e.Committed), e.Kind, e.Lane)
		counter(ch, c.failed, float64(e.Failed), e.Kind, e.Lane)
		counter(ch, c.cancelled, float64(e.Cancelled), e.Kind, e.Lane)
		counter(ch, c.discarded, float64(e.Discarded), e.Kind, e.Lane)
		counter(ch, c.snoozed, float64(e.Snoozed), e.Kind, e.Lane)
		counter(ch, c.takenOver, float64(e.TakenOver), e.Kind, e.Lane)
		counter(ch, c.retries, float64(e.Retries), e.Kind, e.Lane)
		counter(ch, c.bisections, float64(e.Bisections), e.Kind, e.Lane)
		for _, state := range circuits {
			gauge(ch, c.circuit, oneIf(e.Circuit == state), e.Kind, e.Lane, state)
		}
		kinds[e.Kind] = true
	}
	recovered := c.service.RecoveredByKind()
	for kind := range kinds {
		counter(ch, c.recovered, float64(recovered[kind]), kind)
	}
	for _, f := range c.service.Fetching() {
		counter(ch, c.fetches, float64(f.Fetches), f.Queue)
		gauge(ch, c.executing, float64(f.Executing), f.Queue)
		gauge(ch, c.slots, float64(f.Slots), f.Queue)
		if !f.Last.IsZero() {
			gauge(ch, c.fetchAge, time.Since(f.Last).Seconds(), f.Queue)
		}
	}
	gauge(ch, c.draining, oneIf(c.service.Stopping()))
}
