package admin

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// largeTablesQuery inserts a day's completed jobs, a few others, and rejects.
const largeTablesQuery = `
INSERT INTO river.river_job (state, kind, queue, args, max_attempts, created_at, finalized_at)
SELECT CASE WHEN i % 1000 > 0 THEN 'completed' WHEN i % 2000 > 0 THEN 'retryable' ELSE 'discarded' END::river.river_job_state,
       CASE WHEN i % 1000 > 1 THEN 'activity_ingest' ELSE 'acwr_backfill' END, CASE WHEN i % 1000 > 1 THEN 'ingest' ELSE 'backfill' END,
       jsonb_build_object('activities', jsonb_build_array(jsonb_build_object('user_id', i % 5000, 'activity_id', i))), 25,
       now() - (40000 - i) * interval '1 second', CASE WHEN i % 2000 <> 1000 THEN now() END
FROM generate_series(1, 40000) AS i`

const largeRejectsQuery = `
INSERT INTO ingest_rejects (job_id, user_id, activity_id, payload, reason, rejected_at)
SELECT i, i % 5000, i, '{}', 'fault injection', now() - (20000 - i) * interval '1 second' FROM generate_series(1, 20000) AS i`

// TestFiltersFollowTheIndexes: no filter that an operator may use scans a table.
func TestFiltersFollowTheIndexes(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	for _, fill := range []string{largeTablesQuery, largeRejectsQuery, `ANALYZE`} {
		if _, err := pool.Exec(t.Context(), fill); err != nil {
			t.Fatal(err)
		}
	}
	o, err := NewActions(pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]Filter{
		"nothing":             {},
		"ids":                 {IDs: []int64{7, 8}},
		"user":                {User: 7},
		"older than":          {OlderThan: time.Hour},
		"user and older than": {User: 7, OlderThan: time.Hour},
	} {
		args := pgx.NamedArgs{"limit": 50}
		plan(t, pool, "list of rejects by "+name, f.put(listRejectsQuery, args), args)
		if f.User == 0 && len(f.IDs) == 0 {
			continue // the others read most of the table
		}
		args = pgx.NamedArgs{"after": 0, "newest": 20_000, "limit": step}
		plan(t, pool, "preview of rejects by "+name, f.put(previewRejectsQuery, args), args)
		plan(t, pool, "retry of rejects by "+name, f.put(o.lockRejects(), args), args)
		plan(t, pool, "drop of rejects by "+name, f.put(dropRejectsQuery, args), args)
	}
}

// plan fails the test if the plan scans one of the large tables.
func plan(t *testing.T, pool *dbpool.Pool, name, query string, args pgx.NamedArgs) {
	t.Helper()
	rows, err := pool.Query(t.Context(), "EXPLAIN "+query, args)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if text := strings.Join(lines, "\n"); strings.Contains(text, "Seq Scan on river_job") || strings.Contains(text, "Seq Scan on ingest_rejects") {
		t.Errorf("%s scans a table:\n%s", name, text)
	}
}
