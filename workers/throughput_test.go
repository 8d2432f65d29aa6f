package workers

import (
	"testing"
	"time"

	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

const throughputQuery = `
SELECT coalesce(string_agg(concat_ws(' ', kind, committed, failed), '; ' ORDER BY kind), '') FROM (
	SELECT kind, sum(committed) AS committed, sum(failed) AS failed FROM river.worker_throughput GROUP BY kind) AS by_kind`

// TestThroughputOfADrain: when the lanes have stopped, each job is counted once, failed
// ones by their attempts, and processes that found no job wrote nothing.
func TestThroughputOfADrain(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	drain(t, pool)
	if got := query[string](t, pool, throughputQuery); got != "" {
		t.Errorf("a process that found no job wrote %s", got)
	}
	var groups [][]jobs.Activity
	for i := range int64(40) {
		groups = append(groups, []jobs.Activity{run(2*i+1, 7, "2025-09-01", 5, 50), run(2*i+2, 8, "2025-09-01", 5, 50)})
	}
	enqueue(t, pool, groups...)
	execute(t, pool, `SELECT river.enqueue_acwr_recalc(7, '2025-09-01', '2025-09-02')`)
	execute(t, pool, `INSERT INTO river.river_job (kind, queue, args, max_attempts) VALUES ('activity_ingest', 'ingest', '{"activities": "none"}', 25)`)
	stats := drain(t, pool)
	if got := query[string](t, pool, throughputQuery); got != "activity_ingest 40 1; acwr_recalc 1 0" || stats.Ingest.Committed != 40 || stats.Ingest.Failed != 1 {
		t.Errorf("written: %s, want the lanes' stats: %+v", got, stats)
	}
	drain(t, pool)
	if got := query[string](t, pool, throughputQuery); got != "activity_ingest 40 1; acwr_recalc 1 0" {
		t.Errorf("after a process that found no job: %s", got)
	}
}

// TestThroughputOfARunningProcess: work is recorded within about ten seconds, and the
// sweep deletes old rows.
func TestThroughputOfARunningProcess(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	s := newService(t, pool, config.Default())
	startWorking(t, s)
	enqueue(t, pool, []jobs.Activity{run(1, 7, "2025-09-01", 5, 50)})
	for began := time.Now(); query[string](t, pool, throughputQuery) != "activity_ingest 1 0"; time.Sleep(100 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatalf("after 30 s the throughput is %s", query[string](t, pool, throughputQuery))
		}
	}
	execute(t, pool, `INSERT INTO river.worker_throughput (bucket, kind, committed, failed, latencies)
		SELECT date_bin('10 seconds', now(), timestamptz 'epoch') - interval '1 day' - i * interval '10 seconds', 'acwr_recalc', 1, 0, '{}' FROM generate_series(-9, 20000) AS i`)
	if err := s.sweepOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM river.worker_throughput WHERE kind = 'acwr_recalc'`); got < 8 || got > 10 {
		t.Errorf("%d of the rows around a day ago are left, want the 9 that are younger", got)
	}
}
