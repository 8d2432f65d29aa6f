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

	connections, capacity, utilization, acquires, waits, waited, opened *prometheus.Desc
}

func newPoolCollector(stat func() *pgxpool.Stat) *poolCollector {
	return &poolCollector{
		stat:        stat,
		connections: description("pool_connections", "Connections of the pool by state: in_use, idle, connecting.", "state"),
		capacity:    description("pool_max_connections", "database.max_conns."),
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
	gauge(ch, c.capacity, float64(s.MaxConns()))
	gauge(ch, c.utilization, float64(s.AcquiredConns())/float64(max(1, s.MaxConns())))
	counter(ch, c.acquires, float64(s.AcquireCount()))
	counter(ch, c.waits, float64(s.EmptyAcquireCount()))
	counter(ch, c.waited, s.EmptyAcquireWaitTime().Seconds())
	counter(ch, c.opened, float64(s.NewConnsCount()))
}

// serviceCollector reads the service's own counts.
type serviceCollector struct {
	service *workers.Service

	worked, failed, cancelled, discarded, retries, bisections *prometheus.Desc
	claimAge, standstill, draining                            *prometheus.Desc
}

func newServiceCollector(service *workers.Service) *serviceCollector {
	return &serviceCollector{
		service:    service,
		worked:     description("jobs_worked_total", "Jobs whose effects this process committed.", laneLabels...),
		failed:     description("jobs_failed_total", "Attempts at jobs that failed for a reason of the job's own.", laneLabels...),
		cancelled:  description("jobs_cancelled_total", "Of the failed: will never be tried again, because trying cannot help.", laneLabels...),
		discarded:  description("jobs_discarded_total", "Of the failed: will not be tried again, that was the last attempt.", laneLabels...),
		retries:    description("batch_retries_total", "Transactions of lanes that failed through no job's fault and were tried again.", laneLabels...),
		bisections: description("batch_bisections_total", "Groups of jobs that were split in search of the one to blame.", laneLabels...),
		claimAge:   description("claim_age_seconds", "Time since the database last answered a claim, empty ones and those of paused queues included.", "queue"),
		standstill: description("lane_standstill", "1 while a lane stands still because what fails would fail for every job.", "queue"),
		draining:   description("draining", "1 while the process finishes what is running and claims no more."),
	}
}

// Describe implements prometheus.Collector.
func (c *serviceCollector) Describe(ch chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(c, ch)
}

// Collect implements prometheus.Collector.
func (c *serviceCollector) Collect(ch chan<- prometheus.Metric) {
	for _, l := range c.service.Lanes() {
		counter(ch, c.worked, float64(l.Committed), l.Kind, l.Class)
		counter(ch, c.failed, float64(l.Failed), l.Kind, l.Class)
		counter(ch, c.cancelled, float64(l.Cancelled), l.Kind, l.Class)
		counter(ch, c.discarded, float64(l.Discarded), l.Kind, l.Class)
		counter(ch, c.retries, float64(l.Retries), l.Kind, l.Class)
		counter(ch, c.bisections, float64(l.Bisections), l.Kind, l.Class)
		gauge(ch, c.standstill, oneIf(l.Fault != nil), l.Queue)
		if !l.LastClaim.IsZero() {
			gauge(ch, c.claimAge, time.Since(l.LastClaim).Seconds(), l.Queue)
		}
	}
	gauge(ch, c.draining, oneIf(c.service.Stopping()))
}
