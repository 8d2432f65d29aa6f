package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/backfill"
)

// databaseCollector shows the newest snapshot of the whole database. It never queries the
// database.
type databaseCollector struct {
	watch *admin.Watch

	age, depth, oldest, paused, freshness, waiting, enqueued, processes, rejects, writing, without *prometheus.Desc
	backfillRows, backfillFailed, tokens, heldBack, neglected, clock                               *prometheus.Desc
}

func newDatabaseCollector(watch *admin.Watch) *databaseCollector {
	return &databaseCollector{
		watch:          watch,
		age:            description("overview_age_seconds", "Age of what this process knows of the whole database."),
		depth:          description("queue_jobs", "The whole database: jobs by state. Above 10,000 it is PostgreSQL's estimate.", "queue", "state"),
		oldest:         description("queue_oldest_age_seconds", "The whole database: time since the oldest of these jobs was enqueued; 0 for none.", "queue", "state"),
		paused:         description("queue_paused", "The whole database: 1 when the queue is paused.", "queue"),
		freshness:      description("freshness_seconds", "The whole database: age of the oldest job that is not worked yet; 0 for none. processes_writing says whether its results are written.", "lane"),
		waiting:        description("freshness_jobs", "The whole database: jobs that are not worked yet.", "lane"),
		enqueued:       description("jobs_enqueued_total", "The whole database: jobs enqueued by anyone since this process started, a few seconds late.", "kind"),
		processes:      description("processes", "The whole database: worker processes that beat within a day, alive or dead.", "state"),
		writing:        description("processes_writing", "The whole database: live worker processes by their acwr.write, partly where acwr.rollout_percent is below 100, unknown where they do not say.", "write"),
		without:        description("rows_without_results", "The whole database: rows of activities without results. Above 10,000 rows in all it is PostgreSQL's estimate."),
		rejects:        description("rejects_last_day", "The whole database: invalid activities of the last day, up to 10,001."),
		backfillRows:   description("backfill_rows", "The whole database: rows of an unfinished backfill, done and total.", "backfill", "part"),
		backfillFailed: description("backfill_failed_chunks", "The whole database: chunks of a backfill, one of the newest, that failed.", "backfill"),
		heldBack:       description("vacuum_held_back_seconds", "The server: age of the oldest transaction that holds back vacuum for ten minutes or longer; 0 for none."),
		neglected:      description("server_neglected", "The server: 1 where it neglects something, so that the work becomes slow: autovacuum is off, or indexes are not valid.", "what"),
		clock:          description("clock_difference_seconds", "The server: how far its clock is from this machine's; 0 when it may be none."),
		tokens:         description("tokens", "The whole database: athletes' tokens: valid, expiring, expired, needs_reauthorization. Above 10,000 it is PostgreSQL's estimate.", "state"),
	}
}

// Describe implements prometheus.Collector.
func (c *databaseCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.age, c.depth, c.oldest, c.paused, c.freshness, c.waiting, c.enqueued, c.processes, c.rejects, c.writing, c.without, c.backfillRows, c.backfillFailed, c.tokens, c.heldBack, c.neglected, c.clock,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *databaseCollector) Collect(ch chan<- prometheus.Metric) {
	s, age, ok := c.watch.Latest()
	if !ok {
		return
	}
	gauge(ch, c.age, age.Seconds())
	for _, f := range s.Freshness {
		lag := f.Age
		if lag > 0 {
			lag += age.Seconds() // what waited then is assumed to wait still
		} else if age > admin.Old {
			continue // it is no longer known that nothing waits
		}
		gauge(ch, c.freshness, lag, f.Lane)
		gauge(ch, c.waiting, float64(f.Waiting), f.Lane)
	}
	for _, q := range s.Queues {
		gauge(ch, c.paused, oneIf(q.PausedAt != nil), q.Name)
		for _, state := range q.States {
			gauge(ch, c.depth, float64(state.Jobs), q.Name, state.State)
			oldest := 0.0
			if state.OldestAge != nil {
				oldest = *state.OldestAge
			}
			gauge(ch, c.oldest, oldest, q.Name, state.State)
		}
	}
	for kind, n := range c.watch.Enqueued() {
		counter(ch, c.enqueued, float64(n), kind)
	}
	alive := 0
	for _, p := range s.Processes {
		if p.Alive {
			alive++
		}
	}
	gauge(ch, c.processes, float64(alive), "alive")
	gauge(ch, c.processes, float64(len(s.Processes)-alive), "dead")
	for write, n := range s.WritingProcesses() {
		gauge(ch, c.writing, float64(n), write)
	}
	gauge(ch, c.without, float64(s.Writing.RowsWithout))
	gauge(ch, c.rejects, float64(s.Rejects.LastDay))
	for _, b := range s.Backfills {
		id := strconv.FormatInt(b.ID, 10)
		if b.State == backfill.Running || b.State == backfill.Paused {
			gauge(ch, c.backfillRows, float64(b.Rows.Done), id, "done")
			gauge(ch, c.backfillRows, float64(b.Rows.Total), id, "total")
		}
		if b.State != backfill.Cancelled { // a cancelled one does not count as done
			gauge(ch, c.backfillFailed, float64(b.FailedChunks), id)
		}
	}
	gauge(ch, c.tokens, float64(s.Tokens.Valid), "valid")
	gauge(ch, c.tokens, float64(s.Tokens.Expiring), "expiring")
	gauge(ch, c.tokens, float64(s.Tokens.Expired), "expired")
	gauge(ch, c.tokens, float64(s.Tokens.NeedsReauthorization), "needs_reauthorization")
	oldest := 0.0
	for _, h := range s.HeldBack {
		oldest = max(oldest, h.Age)
	}
	gauge(ch, c.heldBack, oldest)
	neglected := map[string]bool{}
	for _, n := range s.Upkeep.Neglected() {
		neglected[n.Check] = true
	}
	for _, what := range []string{admin.CheckAutovacuum, admin.CheckIndexes} {
		gauge(ch, c.neglected, oneIf(neglected[what]), what)
	}
	gauge(ch, c.clock, s.ClockOff)
}
