package workers

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestSweep deletes more old rows than one statement may, and nothing else.
func TestSweep(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `INSERT INTO token_audit_log (user_id, operation, success, timestamp, details)
		SELECT i, 'refresh', true, now() - interval '2 hours' - i * interval '1 second', '{}' FROM generate_series(1, 25000) AS i`)
	execute(t, pool, `INSERT INTO token_audit_log (user_id, operation, success, timestamp, details) VALUES (-1, 'save', true, now() - interval '59 minutes', '{}'), (-2, 'save', true, now(), '{}')`)
	execute(t, pool, `INSERT INTO river.river_job (id, kind, queue, args, max_attempts) VALUES (1000000, 'activity_ingest', 'ingest', '{}', 25)`)
	execute(t, pool, `INSERT INTO ingest_versions (user_id, activity_id, job_id, recorded_at) VALUES
		(1, 1, 999999, now() - interval '2 days'), (1, 2, 999999, now()), (1, 3, 1000001, now() - interval '2 days')`)
	execute(t, pool, `ANALYZE`)
	const left = `SELECT count(*) FILTER (WHERE user_id > 0) || ' ' || count(*) FILTER (WHERE user_id < 0) FROM token_audit_log`

	c := config.Default()
	c.Tokens.AuditRetention = 0
	if err := newService(t, pool, c).sweepOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query[string](t, pool, left); got != "25000 2" {
		t.Errorf("kept for ever: %s rows are left, want all", got)
	}
	if got := query[string](t, pool, `SELECT string_agg(activity_id::text, ' ' ORDER BY activity_id) FROM ingest_versions`); got != "2 3" {
		t.Errorf("versions %s are left, want 2, which is recent, and 3, of which an older version waits", got)
	}

	rows, err := pool.Query(t.Context(), "EXPLAIN "+sweepAuditQuery, sweptRows, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if text := strings.Join(plan, "\n"); err != nil || strings.Contains(text, "Seq Scan") {
		t.Errorf("the audit log is scanned (%v):\n%s", err, text)
	}

	c.Tokens.AuditRetention = time.Hour
	if err := newService(t, pool, c).sweepOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := query[string](t, pool, left); got != "0 2" {
		t.Errorf("kept for an hour: %s rows are left, want the two young ones", got)
	}
}

// TestFinishedJobsAreDeleted: after their retention, by the server's clock, and in more than
// one portion.
func TestFinishedJobsAreDeleted(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	insert := func(state, age string, n int) {
		t.Helper()
		execute(t, pool, `INSERT INTO river.river_job (kind, queue, args, max_attempts, state, finalized_at)
			SELECT 'k', 'q', '{}', 25, '`+state+`', now() - interval '`+age+`' FROM generate_series(1, $1::int)`, n)
	}
	insert("completed", "61 minutes", 2*sweptRows+1)
	insert("completed", "59 minutes", 2)
	for _, state := range []string{"cancelled", "discarded"} {
		insert(state, "7 days 1 minute", 3)
		insert(state, "6 days 23 hours", 4)
	}
	execute(t, pool, `INSERT INTO river.river_job (kind, queue, args, max_attempts, created_at, scheduled_at) SELECT 'k', 'q', '{}', 25, now() - interval '1 year', now() - interval '1 year'`)
	const left = `SELECT string_agg(n || ' ' || state, ', ' ORDER BY state) FROM (SELECT state::text, count(*) AS n FROM river.river_job GROUP BY state) AS counted`

	c := config.Default()
	if err := newService(t, pool, c).sweepFinished(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := query[string](t, pool, left), "1 available, 4 cancelled, 2 completed, 4 discarded"; got != want {
		t.Errorf("%s are left, want %s", got, want)
	}
	c.River.CompletedRetention = 0
	if err := newService(t, pool, c).sweepFinished(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := query[string](t, pool, left), "1 available, 4 cancelled, 4 discarded"; got != want {
		t.Errorf("without retention %s are left, want %s", got, want)
	}
}
