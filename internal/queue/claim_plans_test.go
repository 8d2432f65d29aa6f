package queue

import (
	"context"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestClaimsFollowTheIndex: no statement of a turn scans the table or sorts, even with
// statistics from a time when no job waited.
func TestClaimsFollowTheIndex(t *testing.T) {
	t.Parallel()
	schema := Schema(dbtest.RiverSchema)
	for _, waiting := range []string{"0", "20000"} {
		pool := dbtest.Migrated(t)
		for _, fill := range []string{
			`INSERT INTO river.river_job (kind, queue, args, state, finalized_at, max_attempts) SELECT 'k', 'q', '{}', 'completed', now(), 25 FROM generate_series(1, 20000)`,
			`INSERT INTO river.river_job (kind, queue, args, max_attempts) SELECT 'k', 'q', '{}', 25 FROM generate_series(1, ` + waiting + `)`,
			`ANALYZE river.river_job`,
		} {
			if _, err := pool.Exec(t.Context(), fill); err != nil {
				t.Fatal(err)
			}
		}
		long, ids := time.Now().Add(-time.Hour), []int64{1, 2}
		for name, q := range map[string]struct {
			sql  string
			args []any
			has  string
		}{
			"claim":    {claimQuery, []any{"q", 1, long, 7, 500, "c", 1, 2, []string{"ranges", "0", "user_id"}, true, 2}, "Index Cond: ((state = 'available'::river.river_job_state) AND (queue = 'q'::text) AND (ROW(priority, scheduled_at, id) > "},
			"waiting":  {waitingQuery, []any{"q", 1, long, 7}, "Index Cond: ((state = 'available'::river.river_job_state) AND (queue = 'q'::text) AND (ROW(priority, scheduled_at, id) > "},
			"newest":   {claimNewestQuery, []any{"q", long, 100, "c", 1, 2, []string{"ranges", "0", "user_id"}, true, 2}, "Index Scan Backward using river_job_prioritized_fetching_index"},
			"reclaim":  {reclaimQuery, []any{ids}, "Index Cond: (id = ANY"},
			"complete": {completeQuery, []any{ids, "c"}, "Index Cond: (id = ANY"},
			"delete":   {completeAndDeleteQuery, []any{ids}, "Index Cond: (id = ANY"},
			"mark":     {markSuspectsQuery, []any{ids, "c"}, "Index Cond: (id = ANY"},
			"fail":     {failQuery, []any{ids, "c", []string{"available", "available"}, []bool{true, true}, []time.Duration{1, 1}, [][]byte{[]byte("{}"), []byte("{}")}}, "Index Cond: (id = failed.id)"},
			"due":      {dueQuery, []any{[]string{"q"}}, "river_job_prioritized_fetching_index"},
		} {
			for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
				tx, err := pool.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer tx.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // for when the test fails
				settings := `SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL plan_cache_mode = ` + mode
				if _, err := tx.Exec(t.Context(), settings); err != nil {
					t.Fatal(err)
				}
				rows, err := tx.Query(t.Context(), "EXPLAIN "+schema.SQL(q.sql), q.args...)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				plan := strings.Join(lines, "\n")
				if mode == "force_custom_plan" && !strings.Contains(plan, q.has) || strings.Contains(plan, "Seq Scan on river_job") || (name == "claim" || name == "newest" || name == "waiting") && strings.Contains(plan, "Sort") {
					t.Errorf("%s, %s waiting, %s:\n%s", name, waiting, mode, plan)
				}
				_ = tx.Rollback(t.Context())
			}
		}
	}
}

// TestNewestStopsAtItsBound: with nothing newer than its time, the claim of the newest jobs
// does not walk over the backlog.
func TestNewestStopsAtItsBound(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	var newest time.Time
	err := pool.QueryRow(t.Context(), `
		WITH waiting AS (INSERT INTO river.river_job (kind, queue, args, max_attempts) SELECT 'k', 'q', '{}', 25 FROM generate_series(1, 20000) RETURNING scheduled_at)
		SELECT max(scheduled_at) FROM waiting`).Scan(&newest)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // also where the test fails
	if _, err := tx.Exec(t.Context(), `SET LOCAL enable_seqscan = off`); err != nil {
		t.Fatal(err)
	}
	rows, err := tx.Query(t.Context(), "EXPLAIN (ANALYZE, BUFFERS) "+Schema(dbtest.RiverSchema).SQL(claimNewestQuery), "q", newest, 16, "c", 0, 1, []string{}, false, 1)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	const pages = 10
	if found := regexp.MustCompile(`Buffers: shared hit=(\d+)`).FindStringSubmatch(strings.Join(plan, "\n")); found == nil {
		t.Errorf("no page was read:\n%s", strings.Join(plan, "\n"))
	} else if n, _ := strconv.Atoi(found[1]); n > pages {
		t.Errorf("the claim of nothing read %d pages, want %d at most:\n%s", n, pages, strings.Join(plan, "\n"))
	}
}
