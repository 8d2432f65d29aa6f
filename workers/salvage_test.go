package workers

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// refusing returns a database that refuses activities with a load of 666.
func refusing(t *testing.T) *dbpool.Pool {
	t.Helper()
	pool := dbtest.Migrated(t)
	execute(t, pool, `ALTER TABLE activities ADD CONSTRAINT injected CHECK (total_load_miles <> 666)`)
	return pool
}

// many returns n activities of ten users, some of them with a load of 666.
func many(firstID int64, n int, refused ...int) []jobs.Activity {
	list := make([]jobs.Activity, n)
	day := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range list {
		list[i] = run(firstID+int64(i), int32(i%10+1), day.AddDate(0, 0, i/10).Format(time.DateOnly), float64(i%17), float64(i%90))
	}
	for _, i := range refused {
		list[i].TotalLoadMiles = ptr(666.0)
	}
	return list
}

// jobStates counts the ingest jobs by state and attempt.
func jobStates(t *testing.T, pool *dbpool.Pool) string {
	t.Helper()
	return query[string](t, pool, `
		SELECT string_agg(concat_ws(' ', n, state, 'attempt', attempt, 'errors', errors), ', ' ORDER BY state)
		FROM (SELECT count(*) AS n, state, attempt, coalesce(array_length(errors, 1), 0) AS errors
		      FROM river.river_job WHERE kind = 'activity_ingest' GROUP BY 2, 3, 4) AS counted`)
}

func TestRefusedActivitiesAreRejectedIndividually(t *testing.T) {
	t.Parallel()
	pool := refusing(t)
	c := config.Default()
	c.Batching.BulkActivities = 5000 // all jobs in one batch
	enqueue(t, pool, many(10_001, 30), many(1, 1000, 0, 500, 999), many(20_001, 30))
	stats := drainWith(t, pool, c)
	if got := query[int](t, pool, `SELECT count(*) FROM activities`); got != 30+997+30 {
		t.Errorf("activities = %d, want 1057", got)
	}
	if got, want := jobStates(t, pool), "3 completed attempt 1 errors 0"; got != want {
		t.Errorf("jobs: %s, want %s", got, want)
	}
	got := query[string](t, pool, `
		SELECT string_agg(concat_ws(' ', job_id - (SELECT min(id) FROM river.river_job), user_id, activity_id, payload->>'date', payload->>'total_load_miles'), '; ' ORDER BY activity_id)
		FROM ingest_rejects WHERE reason LIKE 'refused by the database: %injected%'`)
	if want := "1 1 1 2025-01-01 666; 1 1 501 2025-02-20 666; 1 10 1000 2025-04-10 666"; got != want {
		t.Errorf("rejects = %q, want %q", got, want)
	}
	checkOracle(t, pool)
	if stats.Ingest.Failed != 0 || stats.Ingest.Committed != 3 {
		t.Errorf("stats = %+v, want 3 jobs committed and none failed", stats.Ingest)
	}
}

// TestEveryActivityRefused is the most work that a salvage can be. It must stay within
// the transaction's timeout, so its statements are counted.
func TestEveryActivityRefused(t *testing.T) {
	t.Parallel()
	pool := refusing(t)
	all := make([]int, jobs.MaxActivitiesPerJob)
	for i := range all {
		all[i] = i
	}
	enqueue(t, pool, many(1, len(all), all...))
	c := config.Default()
	c.Batching.TransactionTimeout, c.Database.IdleInTransactionTimeout = time.Minute, time.Minute // for a busy machine
	c.Shutdown.Grace = 2 * time.Minute
	counted := &crashDB{DB: pool}
	s, err := newOver(t.Context(), pool, counted, c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query[int](t, pool, `SELECT count(DISTINCT activity_id) FROM ingest_rejects`); got != len(all) {
		t.Errorf("rejects = %d, want %d", got, len(all))
	}
	if got, want := jobStates(t, pool), "1 completed attempt 1 errors 0"; got != want {
		t.Errorf("jobs: %s, want %s", got, want)
	}
	if counted.count > 5*len(all) {
		t.Errorf("%d statements, want at most five for each activity", counted.count)
	}
}

// TestRefusedLoneActivityIsTriedAgain until the last attempt rejects it.
func TestRefusedLoneActivityIsTriedAgain(t *testing.T) {
	t.Parallel()
	pool := refusing(t)
	enqueue(t, pool, many(1, 1, 0), many(2, 1))
	// Its next try is far enough away for a drain to leave it.
	execute(t, pool, `UPDATE river.river_job SET attempt = 4, errors = ARRAY['{}', '{}', '{}', '{}']::jsonb[] WHERE args->'activities'->0->>'activity_id' = '1'`)
	drain(t, pool)
	if got, want := jobStates(t, pool), "1 completed attempt 1 errors 0, 1 retryable attempt 5 errors 5"; got != want {
		t.Errorf("jobs: %s, want %s", got, want)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM ingest_rejects`); got != 0 {
		t.Errorf("rejects = %d before the last attempt, want none", got)
	}
	execute(t, pool, `UPDATE river.river_job SET state = 'available', scheduled_at = now(), attempt = max_attempts - 1 WHERE state = 'retryable'`)
	drain(t, pool)
	if got, want := jobStates(t, pool), "1 completed attempt 1 errors 0, 1 completed attempt 25 errors 5"; got != want {
		t.Errorf("jobs after the last attempt: %s, want %s", got, want)
	}
	if got, want := query[string](t, pool, `SELECT concat_ws(' ', activity_id, payload->>'date') FROM ingest_rejects WHERE reason LIKE '%injected%'`), "1 2025-01-01"; got != want {
		t.Errorf("reject = %q, want %q", got, want)
	}
	checkOracle(t, pool)
}

// TestRejectThatIsRefused: the job's reject cannot be stored, so the job fails with its
// error.
func TestRejectThatIsRefused(t *testing.T) {
	t.Parallel()
	pool := refusing(t)
	execute(t, pool, `ALTER TABLE ingest_rejects ADD CONSTRAINT injected_too CHECK (activity_id <> 3)`)
	enqueue(t, pool, many(1, 5, 0, 2), many(11, 5))
	execute(t, pool, `UPDATE river.river_job SET attempt = 4, errors = ARRAY['{}', '{}', '{}', '{}']::jsonb[]`)
	drain(t, pool)
	if got, want := jobStates(t, pool), "1 completed attempt 5 errors 4, 1 retryable attempt 5 errors 5"; got != want {
		t.Errorf("jobs: %s, want %s", got, want)
	}
	if got := query[string](t, pool, `SELECT errors[5]->>'error' FROM river.river_job WHERE state = 'retryable'`); !strings.Contains(got, `"injected"`) {
		t.Errorf("error = %q, want the first refusal", got)
	}
	if got := query[string](t, pool, `SELECT concat((SELECT count(*) FROM activities), ' rows, ', (SELECT count(*) FROM ingest_rejects), ' rejects')`); got != "5 rows, 0 rejects" {
		t.Errorf("%s, want only the other job's 5 rows", got)
	}
	checkOracle(t, pool)
}

// TestLimits: the largest accepted job is stored in one transaction, and a larger one
// is not enqueued.
func TestLimits(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	largest := many(1, jobs.MaxActivitiesPerJob)
	for i := range largest {
		text := fmt.Sprintf("%04d%s", i, strings.Repeat("é\"", (jobs.MaxTextBytes-4)/3)) // JSON escapes a quote
		text += strings.Repeat(".", jobs.MaxTextBytes-len(text))
		largest[i].Name, largest[i].Type, largest[i].SportType, largest[i].DeviceName = &text, &text, &text, &text
	}
	enqueue(t, pool, largest)
	c := config.Default()
	c.Batching.TransactionTimeout, c.Database.IdleInTransactionTimeout = time.Minute, time.Minute // the race detector makes it ten times slower
	c.Shutdown.Grace = 2 * time.Minute
	stats := drainWith(t, pool, c)
	if got := query[int](t, pool, `SELECT count(*) FROM activities WHERE octet_length(name) = 4096 AND name = type AND type = sport_type AND sport_type = device_name`); got != len(largest) {
		t.Errorf("activities with their texts = %d, want %d", got, len(largest))
	}
	if got, want := jobStates(t, pool), "1 completed attempt 1 errors 0"; got != want || stats.Ingest.Transactions != 1 {
		t.Errorf("jobs: %s in %d transactions, want %s in one", got, stats.Ingest.Transactions, want)
	}
	checkOracle(t, pool)
}

// TestTriggerThatDropsRows: jobs whose rows a trigger of the application drops fail within a
// bounded time, although two workers keep committing others.
func TestTriggerThatDropsRows(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`)
	execute(t, pool, `CREATE TRIGGER drop_it BEFORE INSERT ON activities FOR EACH ROW WHEN (NEW.user_id IN (5, 13)) EXECUTE FUNCTION drop_it()`)
	var groups [][]jobs.Activity
	for i := range 200 {
		groups = append(groups, []jobs.Activity{run(int64(i+1), int32(i%20+1), fmt.Sprintf("2025-01-%02d", i/20+1), 5, 50)})
	}
	enqueue(t, pool, groups...)
	execute(t, pool, `UPDATE river.river_job SET max_attempts = 1`)
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() { drain(t, pool) })
	}
	workers.Wait()
	if got, want := query[string](t, pool, `SELECT count(*) || ' ' || count(acute_chronic_ratio) FROM activities`), "180 180"; got != want {
		t.Errorf("activities and ratios: %s, want %s", got, want)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE finalized_at IS NULL`); got != 0 {
		t.Errorf("%d jobs never end", got)
	}
	checkOracle(t, pool)
}
