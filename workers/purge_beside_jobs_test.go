package workers

import (
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestPurgeDuringIngest purges an athlete while workers ingest jobs with activities of
// that athlete and others.
func TestPurgeDuringIngest(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	const total = 600
	for i := range total {
		id := int64(i + 1)
		date := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, i).Format(time.DateOnly)
		enqueue(t, pool, []jobs.Activity{run(id, leaving, date, 5, 50), run(10_000+id, 8, date, 3, 30)})
	}
	s := newService(t, pool, config.Default())
	stop := startWorking(t, s)
	await(t, pool, `SELECT EXISTS (SELECT FROM activities WHERE user_id = $1)`, leaving)
	purge(t, pool, leaving)
	await(t, pool, noJobsAreLeft)
	stop()
	after := tracesLeft(t, pool)
	if len(after) > 0 {
		t.Errorf("rows of the purged athlete are left in %v", after)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM activities WHERE user_id = 8`); got != total {
		t.Errorf("%d activities of the other user, want %d", got, total)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE state <> 'completed' OR attempt > 1`); got > 0 {
		t.Errorf("%d jobs failed or were tried again", got)
	}
	checkOracle(t, pool)
}

// TestPurgeWaitsForJobsInHand: a job that a lane has locked or River is running is left
// to the next call. Neither side waits for the other.
func TestPurgeWaitsForJobsInHand(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	first := enqueueRaw(t, pool, []jobs.Activity{run(1, leaving, "2025-03-01", 5, 50)})
	enqueueRaw(t, pool, []jobs.Activity{run(2, leaving, "2025-03-02", 5, 50)})
	running := query[int64](t, pool, `INSERT INTO river.river_job (args, kind, queue, state, max_attempts) VALUES ('{"user_ids": [1707071707]}', 'token_refresh', 'tokens', 'running', 5) RETURNING id`)
	lane, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lane.Exec(t.Context(), `SELECT FROM river.river_job WHERE id = $1 FOR UPDATE`, first); err != nil {
		t.Fatal(err)
	}
	call := func() string { return query[string](t, pool, `SELECT river.purge_athlete($1)::text`, leaving) }
	if got := call(); !strings.Contains(got, `"done": false`) || !strings.Contains(got, `"in_hand": 2`) || !strings.Contains(got, `"river_job": 1`) {
		t.Errorf("with two jobs being worked: %s", got)
	}
	if err := lane.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := call(); !strings.Contains(got, `"done": false`) || !strings.Contains(got, `"in_hand": 1`) {
		t.Errorf("with one job being worked: %s", got)
	}
	execute(t, pool, `UPDATE river.river_job SET state = 'completed', finalized_at = now() WHERE id = $1`, running)
	if got := call(); !strings.Contains(got, `"done": true`) {
		t.Errorf("with none: %s", got)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM river.river_job`); got > 0 {
		t.Errorf("%d jobs are left", got)
	}
}

// TestPurgeOfAClaimedJob: the purge commits while a lane has claimed a job and waits for
// the athlete's lock.
func TestPurgeOfAClaimedJob(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `INSERT INTO user_locks (user_id) VALUES ($1)`, leaving)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM user_locks FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	enqueue(t, pool, []jobs.Activity{run(1, leaving, "2025-03-01", 5, 50), run(2, 8, "2025-03-01", 3, 30)})
	s := newService(t, pool, config.Default())
	stop := startWorking(t, s)
	await(t, pool, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%lock_users%')`)
	var answer string
	if err := tx.QueryRow(t.Context(), `SELECT river.purge_athlete($1)::text`, leaving).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(answer, `"in_hand": 1`) {
		t.Errorf("the purge did not meet the claimed job: %s", answer)
	}
	await(t, pool, noJobsAreLeft)
	stop()
	if got := rows(t, pool); got != "2 8 2025-03-01 3" {
		t.Errorf("stored %s", got)
	}
	after := tracesLeft(t, pool)
	if len(after) > 0 {
		t.Errorf("rows of the purged athlete are left in %v", after)
	}
}
