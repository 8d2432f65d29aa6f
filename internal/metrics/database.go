package metrics

import (
	"cmp"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/backfill"
)

var (
	snapshotAge      = description("overview_age_seconds", "Age of what this process knows of the whole database.")
	queueJobs        = description("queue_jobs", "The whole database: jobs by state. Above 10,000 it is PostgreSQL's estimate.", "queue", "state")
	queueOldest      = description("queue_oldest_age_seconds", "The whole database: time since the oldest of these jobs was enqueued; 0 for none.", "queue", "state")
	queuePaused      = description("queue_paused", "The whole database: 1 when the queue is paused.", "queue")
	freshness        = description("freshness_seconds", "The whole database: age of the oldest job that is not worked yet; 0 for none. processes_writing says whether its results are written.", "lane")
	freshnessJobs    = description("freshness_jobs", "The whole database: jobs that are not worked yet.", "lane")
	jobsEnqueued     = description("jobs_enqueued_total", "The whole database: jobs enqueued by anyone since this process started, a few seconds late.", "kind")
	processes        = description("processes", "The whole database: worker processes that beat within a day, alive or dead.", "state")
	processesWriting = description("processes_writing", "The whole database: live worker processes by their acwr.write, partly where acwr.rollout_percent is below 100, unknown where they do not say.", "write")
	rowsWithout      = description("rows_without_results", "The whole database: rows of activities without results. Above 10,000 rows in all it is PostgreSQL's estimate.")
	rejectsLastDay   = description("rejects_last_day", "The whole database: invalid activities of the last day, up to 10,001.")
	backfillRows     = description("backfill_rows", "The whole database: rows of an unfinished backfill, done and total.", "backfill", "part")
	backfillFailed   = description("backfill_failed_chunks", "The whole database: chunks of a backfill, one of the newest, that failed.", "backfill")
	heldBack         = description("vacuum_held_back_seconds", "The server: age of the oldest transaction that holds back vacuum for ten minutes or longer; 0 for none.")
	heldBackBy       = description("vacuum_held_back_transactions", "The server: transactions since the oldest that holds back vacuum, of those named on the status page; 0 for none. Also counts what has no known age, such as a replication slot.")
	serverNeglected  = description("server_neglected", "The server: 1 where it neglects something, so that the work becomes slow or fails: autovacuum is off or waits for too many dead jobs, indexes are not valid, or notifications fill half of their queue.", "what")
	idsWentBack      = description("job_ids_went_back", "The whole database: 1 when the ids of jobs went back while the worker ran.")
	connections      = description("server_connections", "The server: connections that it gives the worker's role: total, free, and worker, how many one worker takes at most.", "what")
	clockDifference  = description("clock_difference_seconds", "The server: how far its clock is from this machine's; 0 when it may be none.")
	tokens           = description("tokens", "The whole database: athletes' tokens: valid, expiring, expired, needs_reauthorization. Above 10,000 it is PostgreSQL's estimate.", "state")
)

// collectDatabase reports the newest snapshot of the whole database. It never
// queries the database.
func collectDatabase(watch *admin.Watch) collector {
	return func(ch chan<- prometheus.Metric) {
		s, age, ok := watch.Latest()
		if !ok {
			return
		}
		gauge(ch, snapshotAge, age.Seconds())
		for _, f := range s.Freshness {
			lag := f.Age
			if lag > 0 {
				lag += age.Seconds() // jobs that waited then are assumed to still wait
			} else if age > admin.Old {
				continue // jobs may wait by now
			}
			gauge(ch, freshness, lag, f.Lane)
			gauge(ch, freshnessJobs, float64(f.Waiting), f.Lane)
		}
		for _, q := range s.Queues {
			gauge(ch, queuePaused, oneIf(q.PausedAt != nil), q.Name)
			for _, state := range q.States {
				gauge(ch, queueJobs, float64(state.Jobs), q.Name, state.State)
				gauge(ch, queueOldest, *cmp.Or(state.OldestAge, new(float64)), q.Name, state.State)
			}
		}
		for kind, n := range watch.Enqueued() {
			counter(ch, jobsEnqueued, float64(n), kind)
		}
		alive := s.Alive()
		gauge(ch, processes, float64(alive), "alive")
		gauge(ch, processes, float64(len(s.Processes)-alive), "dead")
		for write, n := range s.WritingProcesses() {
			gauge(ch, processesWriting, float64(n), write)
		}
		gauge(ch, rowsWithout, float64(s.Writing.RowsWithout))
		gauge(ch, rejectsLastDay, float64(s.Rejects.LastDay))
		for _, b := range s.Backfills {
			id := strconv.FormatInt(b.ID, 10)
			if b.State == backfill.Running || b.State == backfill.Paused {
				gauge(ch, backfillRows, float64(b.Rows.Done), id, "done")
				gauge(ch, backfillRows, float64(b.Rows.Total), id, "total")
			}
			if b.State != backfill.Cancelled { // a cancelled one does not count as done
				gauge(ch, backfillFailed, float64(b.FailedChunks), id)
			}
		}
		gauge(ch, tokens, float64(s.Tokens.Valid), "valid")
		gauge(ch, tokens, float64(s.Tokens.Expiring), "expiring")
		gauge(ch, tokens, float64(s.Tokens.Expired), "expired")
		gauge(ch, tokens, float64(s.Tokens.NeedsReauthorization), "needs_reauthorization")
		oldest, transactions := 0.0, int64(0)
		for _, h := range s.Vacuum.Holders {
			oldest, transactions = max(oldest, h.Age), max(transactions, h.Transactions)
		}
		gauge(ch, heldBack, oldest)
		gauge(ch, heldBackBy, float64(transactions))
		neglected := map[string]bool{}
		for _, n := range s.Upkeep.Neglected() {
			neglected[n.Check] = true
		}
		for _, what := range admin.Checks() {
			gauge(ch, serverNeglected, oneIf(neglected[what]), what)
		}
		gauge(ch, idsWentBack, oneIf(s.JobIDs.WentBack()))
		gauge(ch, connections, float64(s.Connections.Total), "total")
		gauge(ch, connections, float64(s.Connections.Free), "free")
		gauge(ch, connections, float64(s.WorkerConnections), "worker")
		gauge(ch, clockDifference, s.ClockOff)
	}
}
