package workers

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// jobStatus describes jobs by job_status, one each: state, stored, unchanged, rejected,
// results_written and known_by, with - for NULL.
func jobStatus(t *testing.T, db interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}, ids ...int64,
) string {
	t.Helper()
	rows, err := db.Query(t.Context(), `SELECT concat_ws(' ', state, coalesce(stored::text, '-'), coalesce(unchanged::text, '-'), rejected,
		coalesce(results_written::text, '-'), coalesce(known_by, '-')) FROM river.job_status($1)`, ids)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "; ")
}

func wantStatus(t *testing.T, pool *dbpool.Pool, want string, ids ...int64) {
	t.Helper()
	if got := jobStatus(t, pool, ids...); got != want {
		t.Errorf("job_status(%v) = %s, want %s", ids, got, want)
	}
}

func TestJobStatusFollowsAJob(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	first := enqueue(t, pool, []jobs.Activity{run(1, 7, "2025-09-01", 5, 50), run(2, 8, "2025-09-01", 5, 50), run(3, 7, "2025-09-02", 5, 50)})[0]
	wantStatus(t, pool, "queued 0 0 0 - job", first)
	drain(t, pool)
	wantStatus(t, pool, "done 3 0 0 true job", first)

	var second int64
	if err := pool.QueryRow(t.Context(), `SELECT river.enqueue_activity_ingest('[
		{"activity_id": 1, "user_id": 7, "date": "2025-09-01", "name": "Run", "type": "Run", "total_load_miles": 5, "trimp": 50},
		{"activity_id": 2, "user_id": 7, "date": "2025-09-01"},
		{"activity_id": 3, "user_id": 7, "date": "2025-09-02", "deleted": true},
		{"activity_id": 4, "user_id": 7, "date": "2025-09-03", "trimp": 1e12},
		{"activity_id": 5, "user_id": 7, "date": "2025-09-03", "total_load_miles": 3}]')`).Scan(&second); err != nil {
		t.Fatal(err)
	}
	drain(t, pool)
	// The deletion is done; it removed one of the first job's activities.
	wantStatus(t, pool, "done 2 0 0 true job; done 2 1 2 true job", first, second)

	const rejects = `SELECT string_agg(concat_ws(' ', r->>'activity_id', r->>'code', r->>'field', r->>'message'), E'\n') FROM river.job_status($1), jsonb_array_elements(rejects) AS r`
	want := "2 other_athlete This activity was not stored, because it belongs to another athlete's account.\n" +
		"4 out_of_range trimp This activity was not stored, because its heart-rate load cannot be that low or that high."
	if diff := cmp.Diff(want, query[string](t, pool, rejects, []int64{second})); diff != "" {
		t.Errorf("rejects (-want +got):\n%s", diff)
	}
	if got := query[string](t, pool, `SELECT concat_ws(' ', kind, activities, attempt, finished_at > now() - interval '1 minute', next_attempt_at IS NULL) FROM river.job_status($1)`, []int64{second}); got != "activity_ingest 5 1 t t" {
		t.Errorf("the job is %s", got)
	}

	// A job with the same values, and one with a newer version.
	third := enqueue(t, pool, []jobs.Activity{run(1, 7, "2025-09-01", 5, 50)}, []jobs.Activity{run(1, 7, "2025-09-01", 6, 50)})
	drain(t, pool)
	wantStatus(t, pool, "done 1 0 0 true job; done 0 0 0 true job; done 1 0 0 true job", append([]int64{first}, third...)...)
}

// TestJobStatusOfARetry: it has the attempt and the time of the next one.
func TestJobStatusOfARetry(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	id := enqueue(t, pool, []jobs.Activity{run(1, 7, "2025-09-01", 5, 50)})[0]
	execute(t, pool, `UPDATE river.river_job SET state = 'retryable', attempt = 3, scheduled_at = '2099-01-01', errors = ARRAY['{"error": "secret"}'::jsonb]`)
	var got, all string
	err := pool.QueryRow(t.Context(), `SELECT concat_ws(' ', state, attempt, (next_attempt_at AT TIME ZONE 'UTC')::date), s::text FROM river.job_status($1) AS s`, []int64{id}).Scan(&got, &all)
	if err != nil || got != "queued 3 2099-01-01" || strings.Contains(all, "secret") {
		t.Errorf("job_status = %q, %v, want the attempt and the time, and nothing of the error: %s", got, err, all)
	}
}

// TestJobStatusOfArgsThatAreNone: invalid args of some jobs do not fail the status of
// the others.
func TestJobStatusOfArgsThatAreNone(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	ids := enqueue(t, pool, []jobs.Activity{run(1, 7, "2025-09-01", 5, 50)})
	for _, args := range []string{`{"activities": "x"}`, `{"activities": {"a": 1}}`, `{"activities": null}`, `[]`, `{"activities": [7, null, "x", []]}`} {
		ids = append(ids, query[int64](t, pool, `INSERT INTO river.river_job (kind, queue, args, max_attempts, state) VALUES ('activity_ingest', 'ingest', $1::jsonb, 3, 'pending') RETURNING id`, args))
	}
	wantStatus(t, pool, "queued 0 0 0 - job; queued - - 0 - job; queued - - 0 - job; queued - - 0 - job; queued - - 0 - job; queued 0 0 0 - job", ids...)
}

// TestJobStatusInTheStatementThatEnqueues: the statement's snapshot is older than the job.
func TestJobStatusInTheStatementThatEnqueues(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	const asked = `SELECT s.state FROM (SELECT river.enqueue_acwr_recalc(7, '2025-09-01', '2025-09-01') AS id OFFSET 0) AS e, river.job_status(ARRAY[e.id]) AS s`
	if got := query[string](t, pool, asked); got != "queued" {
		t.Errorf("job_status of a job of the same statement = %s, want queued", got)
	}
}

// TestJobStatusAfterTheRowIsGone: deleted by River's cleaner, by a lane that completes
// it, or by hand.
func TestJobStatusAfterTheRowIsGone(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	groups := make([][]jobs.Activity, 7)
	for i := range groups {
		groups[i] = []jobs.Activity{run(int64(i+1), 7, "2025-09-01", 5, 50)}
	}
	ids := enqueue(t, pool, groups...)
	execute(t, pool, `UPDATE river.river_job SET state = 'discarded', finalized_at = now(), attempt = 25 WHERE id = ANY($1)`, []int64{ids[1], ids[5]})
	execute(t, pool, `UPDATE river.river_job SET state = 'cancelled', finalized_at = now() WHERE id = $1`, ids[2])
	execute(t, pool, `UPDATE river.river_job SET state = 'completed', finalized_at = now() WHERE id = $1`, ids[3])
	wantStatus(t, pool, "failed 0 0 0 false job; cancelled 0 0 0 false job", ids[1], ids[2])
	execute(t, pool, fmt.Sprintf(`SET LOCAL trainingmonkey.worker = 'on'; DELETE FROM river.river_job WHERE id = %d`, ids[1])) // as a purge does
	execute(t, pool, `DELETE FROM river.river_job WHERE id = ANY($1)`, ids[2:5])

	// A failed job that is retried and then completes has not failed.
	execute(t, pool, `UPDATE river.river_job SET state = 'available', finalized_at = NULL, max_attempts = 26 WHERE id = $1`, ids[5])
	c := config.Default()
	c.River.CompletedRetention = 0
	drainWith(t, pool, c)
	if n := query[int](t, pool, `SELECT count(*) FROM river.river_job`); n != 0 {
		t.Fatalf("%d jobs are left, want none", n)
	}
	wantStatus(t, pool, strings.Join([]string{
		"done - - 0 - absence", "failed - - 0 false record", "cancelled - - 0 false record", "done - - 0 - absence",
		"cancelled - - 0 false record", "done - - 0 - absence", "done - - 0 - absence",
	}, "; "), ids...)
	if n := query[int](t, pool, `SELECT count(*) FROM river.worker_job_outcomes`); n != 3 {
		t.Errorf("%d outcomes are recorded, want three: completed jobs need none", n)
	}
	wantStatus(t, pool, "unknown - - 0 - -; unknown - - 0 - -; unknown - - 0 - -", ids[6]+1, 0, -4)

	// In a snapshot that may be older than the job, a missing row proves nothing.
	tx, err := pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if got := jobStatus(t, tx, ids[0], ids[1]); got != "unknown - - 0 - -; failed - - 0 false record" {
		t.Errorf("in a transaction with one snapshot: %s", got)
	}
}

// TestJobStatusIsKeptForItsTime: retention counts from when the row was found missing;
// a waiting job keeps what is known about all younger ones.
func TestJobStatusIsKeptForItsTime(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	c := config.Default()
	c.River.CompletedRetention, c.River.JobStatusRetention = 0, time.Hour
	sweep := func(later string) {
		t.Helper()
		execute(t, pool, `UPDATE river.worker_job_marks SET noted_at = noted_at - $1::interval`, later)
		if err := newService(t, pool, c).sweepOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ids := enqueue(t, pool, []jobs.Activity{run(1, 7, "2025-09-01", 5, 50)}, []jobs.Activity{run(2, 7, "2025-09-01", 5, 50)}, []jobs.Activity{run(3, 7, "2025-09-01", 5, 50)})
	execute(t, pool, `UPDATE river.river_job SET state = 'discarded', finalized_at = now() WHERE id = $1`, ids[1])
	execute(t, pool, `UPDATE river.river_job SET state = 'scheduled', scheduled_at = '2099-01-01' WHERE id = $1`, ids[0])
	drainWith(t, pool, c)
	execute(t, pool, `DELETE FROM river.river_job WHERE id = $1`, ids[1])
	sweep("0")
	sweep("30 days")
	wantStatus(t, pool, "queued 0 0 0 - job; failed - - 0 false record; done - - 0 - absence", ids...)

	execute(t, pool, `UPDATE river.river_job SET state = 'available', scheduled_at = now()`)
	drainWith(t, pool, c)
	sweep("0")
	sweep("59 minutes")
	wantStatus(t, pool, "done - - 0 - absence; failed - - 0 false record; done - - 0 - absence", ids...)
	sweep("2 minutes")
	wantStatus(t, pool, "unknown - - 0 - -; unknown - - 0 - -; unknown - - 0 - -", ids...)
	if got := query[string](t, pool, `SELECT (SELECT count(*) FROM river.worker_job_outcomes) || ' ' || (SELECT count(*) FROM river.worker_job_marks)`); got != "0 1" {
		t.Errorf("outcomes and marks %s are left, want none and the newest", got)
	}
	later := enqueue(t, pool, []jobs.Activity{run(4, 7, "2025-09-01", 5, 50)})[0]
	drainWith(t, pool, c)
	wantStatus(t, pool, "done - - 0 - absence", later)
}

// TestJobStatusSaysWhetherResultsAreWritten: by the settings of the running workers.
func TestJobStatusSaysWhetherResultsAreWritten(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	var in, out int32
	for user := int32(1); in == 0 || out == 0; user++ {
		if config.InRollout(int64(user), 50) {
			in = user
		} else {
			out = user
		}
	}
	for _, c := range []struct {
		write   string
		percent int
		want    string // of jobs of user in, of user out and of both, and of a recalculation of user out
	}{
		{"on", 100, "true true true true"}, {"on", 50, "true false false false"}, {"on", 0, "false false false false"}, {"compare", 100, "false false false false"},
	} {
		execute(t, pool, `DELETE FROM worker_processes; DELETE FROM activities; DELETE FROM ingest_versions`)
		ids := enqueue(t, pool, []jobs.Activity{run(1, in, "2025-09-01", 5, 50)}, []jobs.Activity{run(2, out, "2025-09-01", 5, 50)},
			[]jobs.Activity{run(3, in, "2025-09-01", 5, 50), run(4, out, "2025-09-01", 5, 50)})
		ids = append(ids, query[int64](t, pool, `SELECT river.enqueue_acwr_recalc($1, '2025-09-01', '2025-09-01')`, out))
		settings := config.Default()
		settings.ACWR.Write, settings.ACWR.RolloutPercent = c.write, c.percent
		drainWith(t, pool, settings)
		if got := query[string](t, pool, `SELECT string_agg(results_written::text, ' ') FROM river.job_status($1)`, ids); got != c.want {
			t.Errorf("%s, %d %%: results_written %s, want %s", c.write, c.percent, got, c.want)
		}
	}
	// A worker that does not report its settings leaves it unknown.
	execute(t, pool, `UPDATE worker_processes SET acwr_write = NULL, acwr_rollout_percent = NULL`)
	id := enqueue(t, pool, []jobs.Activity{run(9, in, "2025-09-01", 5, 50)})[0]
	execute(t, pool, `UPDATE river.river_job SET state = 'completed', finalized_at = now() WHERE id = $1`, id)
	if got := query[string](t, pool, `SELECT coalesce(results_written::text, 'unknown') FROM river.job_status($1)`, []int64{id}); got != "unknown" {
		t.Errorf("of a worker of an older version: results_written %s", got)
	}
}

// TestRolloutInSQL compares in_rollout with config.InRollout.
func TestRolloutInSQL(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	rows, err := pool.Query(t.Context(), `SELECT id, percent, river.in_rollout(id, percent)
		FROM (SELECT generate_series(1, 300) UNION ALL SELECT generate_series(2147483647 - 300, 2147483647)) AS ids (id), unnest(ARRAY[0, 1, 37, 50, 99, 100]) AS percent`)
	if err != nil {
		t.Fatal(err)
	}
	var id int64
	var percent int
	var in bool
	tag, err := pgx.ForEachRow(rows, []any{&id, &percent, &in}, func() error {
		if want := config.InRollout(id, percent); in != want {
			return fmt.Errorf("in_rollout(%d, %d) = %v, want %v", id, percent, in, want)
		}
		return nil
	})
	if err != nil || tag.RowsAffected() < 3000 {
		t.Error(tag, err)
	}
}

var internals = regexp.MustCompile(`_|SQL|%|\b(json|column|database|constraint|null|byte)\b`)

// TestEveryRejectIsExplained: every fault has a code, and a sentence without internal
// terms.
func TestEveryRejectIsExplained(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	const good = `"activity_id": 1, "user_id": 7, "date": "2025-09-01"`
	for payload, want := range map[string]string{
		`{` + good + `, "date": ""}`:                                                    "invalid_date date",
		`{` + good + `, "date": "2025-02-30"}`:                                          "invalid_date date",
		`{` + good + `, "date": 5}`:                                                     "invalid_date date",
		`{` + good + `, "distance_miles": -1}`:                                          "out_of_range distance_miles",
		`{` + good + `, "distance_miles": 1e999}`:                                       "out_of_range distance_miles",
		`{` + good + `, "avg_heart_rate": "x"}`:                                         "invalid_value avg_heart_rate",
		`{` + good + `, "strength_rpe": 11}`:                                            "out_of_range strength_rpe",
		`{` + good + `, "hr_stream_sample_count": -1}`:                                  "out_of_range hr_stream_sample_count",
		`{` + good + `, "start_time": "noon"}`:                                          "invalid_value start_time",
		`{` + good + `, "trimp_processed_at": "noon"}`:                                  "invalid_value trimp_processed_at",
		`{` + good + `, "trimp": -1, "start_time": "x"}`:                                "out_of_range trimp",
		`{` + good + `, "name": "a\u0000b"}`:                                            "invalid_text name",
		`{` + good + `, "trimp_calculation_method": "` + strings.Repeat("x", 21) + `"}`: "invalid_text trimp_calculation_method",
		`{"activity_id": 0, "user_id": 7, "date": "2025-09-01"}`:                        "invalid_value activity_id",
		`{"activity_id": 1, "user_id": 7.5, "date": "2025-09-01"}`:                      "out_of_range user_id",
		`[]`: "unreadable", `7`: "unreadable", `{`: "unreadable",
	} {
		_, fault := jobs.DecodeActivity(json.RawMessage(payload))
		if fault == nil {
			t.Errorf("%s has no fault", payload)
			continue
		}
		checkExplained(t, pool, fault.Error(), want)
	}
	checkExplained(t, pool, "activity_id belongs to another user", "other_athlete")
	checkExplained(t, pool, `refused by the database: ERROR: new row violates check constraint "x" (SQLSTATE 23514)`, "not_storable")
	checkExplained(t, pool, "", "unreadable")
}

func checkExplained(t *testing.T, pool *dbpool.Pool, reason, want string) {
	t.Helper()
	var got, message string
	if err := pool.QueryRow(t.Context(), `SELECT concat_ws(' ', code, field), message FROM river.explain_reject($1)`, reason).Scan(&got, &message); err != nil {
		t.Fatal(err)
	}
	if got != want || !strings.HasPrefix(message, "This activity ") || !strings.HasSuffix(message, ".") || internals.MatchString(message) {
		t.Errorf("explain_reject(%q) = %s, %q, want %s and a sentence for an athlete", reason, got, message, want)
	}
}

// TestJobStatusReadsByKeys: job_status scans no large table, and one call takes a
// bounded number of jobs.
func TestJobStatusReadsByKeys(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `INSERT INTO river.river_job (state, kind, queue, args, max_attempts, finalized_at)
		SELECT 'completed', 'activity_ingest', 'ingest', jsonb_build_object('activities', jsonb_build_array(jsonb_build_object('user_id', i % 500 + 1, 'activity_id', i))), 25, now() FROM generate_series(1, 20000) AS i`)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, ingest_job_id) SELECT i, i % 500 + 1, '2025-09-01', i FROM generate_series(1, 20000) AS i`)
	execute(t, pool, `INSERT INTO ingest_rejects (job_id, payload, reason) SELECT i, '{}', 'x' FROM generate_series(1, 20000) AS i`)
	execute(t, pool, `INSERT INTO river.worker_job_outcomes SELECT i, 'activity_ingest', 'failed', 25, now() FROM generate_series(20001, 40000) AS i`)
	execute(t, pool, `ANALYZE`)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	var done, scans int
	var scanned *string
	if err := tx.QueryRow(t.Context(), `SELECT sum(stored) FROM river.job_status((SELECT array_agg(i) FROM generate_series(101, 1100) AS i))`).Scan(&done); err != nil || done != 1000 {
		t.Fatalf("%d activities stored, want 1000: %v", done, err)
	}
	const scansQuery = `SELECT coalesce(sum(seq_scan), 0), string_agg(relname, ', ') FILTER (WHERE seq_scan > 0) FROM pg_stat_xact_user_tables
		WHERE relname IN ('river_job', 'activities', 'ingest_rejects', 'worker_job_outcomes')`
	if err := tx.QueryRow(t.Context(), scansQuery).Scan(&scans, &scanned); err != nil || scans > 0 {
		t.Errorf("%d sequential scans, of %v: %v", scans, *scanned, err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT river.job_status((SELECT array_agg(i::bigint) FROM generate_series(1, 1001) AS i))`); err == nil || !strings.Contains(err.Error(), "ids: at most 1000 at once, got 1001") {
		t.Errorf("asking for 1001 jobs: %v", err)
	}
}

// TestJobsBeforeTheMigrationAreUnknown: failures before it left no record.
func TestJobsBeforeTheMigrationAreUnknown(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	ids := enqueue(t, pool, []jobs.Activity{run(1, 7, "2025-09-01", 5, 50)}, []jobs.Activity{run(2, 7, "2025-09-01", 5, 50)})
	execute(t, pool, `DROP TRIGGER worker_keep_job_outcome ON river.river_job`)
	execute(t, pool, `DROP TABLE river.worker_job_outcomes, river.worker_job_marks; DELETE FROM worker_migrations WHERE version_id >= 22`)
	execute(t, pool, `DELETE FROM river.river_job WHERE id = $1`, ids[0])
	if _, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	drain(t, pool)
	execute(t, pool, `DELETE FROM river.river_job`)
	wantStatus(t, pool, "unknown - - 0 - -; done - - 0 - absence", ids...)
}
