package metrics

import (
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trainingmonkey/worker/workers"
)

var (
	poolConnections = description("pool_connections", "Connections of the pool by state: in_use, idle, connecting.", "state")
	poolCapacity    = description("pool_max_connections", "database.max_conns.")
	poolUtilization = description("pool_utilization_ratio", "Share of database.max_conns that is in use.")
	poolAcquires    = description("pool_acquires_total", "Connections that callers got from the pool.")
	poolWaits       = description("pool_waits_total", "Of those: had to wait, because none was idle.")
	poolWaited      = description("pool_wait_seconds_total", "Time that these waited.")
	poolOpened      = description("pool_connections_opened_total", "Connections that were made.")
)

// collectPool reads the pool's own counts.
func collectPool(stat func() *pgxpool.Stat) collector {
	return func(ch chan<- prometheus.Metric) {
		s := stat()
		gauge(ch, poolConnections, float64(s.AcquiredConns()), "in_use")
		gauge(ch, poolConnections, float64(s.IdleConns()), "idle")
		gauge(ch, poolConnections, float64(s.ConstructingConns()), "connecting")
		gauge(ch, poolCapacity, float64(s.MaxConns()))
		gauge(ch, poolUtilization, float64(s.AcquiredConns())/float64(max(1, s.MaxConns())))
		counter(ch, poolAcquires, float64(s.AcquireCount()))
		counter(ch, poolWaits, float64(s.EmptyAcquireCount()))
		counter(ch, poolWaited, s.EmptyAcquireWaitTime().Seconds())
		counter(ch, poolOpened, float64(s.NewConnsCount()))
	}
}

var (
	jobsWorked      = description("jobs_worked_total", "Jobs whose effects this process committed.", laneLabels...)
	jobsFailed      = description("jobs_failed_total", "Attempts at jobs that failed for a reason of the job's own.", laneLabels...)
	jobsCancelled   = description("jobs_cancelled_total", "Of the failed: will never be tried again, because trying cannot help.", laneLabels...)
	jobsDiscarded   = description("jobs_discarded_total", "Of the failed: will not be tried again, that was the last attempt.", laneLabels...)
	batchRetries    = description("batch_retries_total", "Transactions of lanes that failed through no job's fault and were tried again.", laneLabels...)
	batchBisections = description("batch_bisections_total", "Groups of jobs that were split in search of the one to blame.", laneLabels...)
	claimAge        = description("claim_age_seconds", "Time since the database last answered a claim, empty ones and those of paused queues included.", "queue")
	laneStandstill  = description("lane_standstill", "1 while a lane stands still because what fails would fail for every job.", "queue")
	tokenUsers      = description("token_users_total", "Users of token_refresh jobs, by what became of their tokens; failed includes marked, who have to authorize again.", "outcome")
	draining        = description("draining", "1 while the process finishes what is running and claims no more.")
)

// collectService reads the service's own counts.
func collectService(service *workers.Service) collector {
	return func(ch chan<- prometheus.Metric) {
		for _, l := range service.Lanes() {
			counter(ch, jobsWorked, float64(l.Committed), l.Kind, l.Class)
			counter(ch, jobsFailed, float64(l.Failed), l.Kind, l.Class)
			counter(ch, jobsCancelled, float64(l.Cancelled), l.Kind, l.Class)
			counter(ch, jobsDiscarded, float64(l.Discarded), l.Kind, l.Class)
			counter(ch, batchRetries, float64(l.Retries), l.Kind, l.Class)
			counter(ch, batchBisections, float64(l.Bisections), l.Kind, l.Class)
			gauge(ch, laneStandstill, oneIf(l.Fault != nil), l.Queue)
			if !l.LastClaim.IsZero() {
				gauge(ch, claimAge, time.Since(l.LastClaim).Seconds(), l.Queue)
			}
		}
		users := service.Stats().TokenUsers
		counter(ch, tokenUsers, float64(users.Refreshed), "refreshed")
		counter(ch, tokenUsers, float64(users.Fresh), "fresh")
		counter(ch, tokenUsers, float64(users.Marked), "marked")
		counter(ch, tokenUsers, float64(users.Superseded), "superseded")
		counter(ch, tokenUsers, float64(users.Failed), "failed")
		gauge(ch, draining, oneIf(service.Stopping()))
	}
}
