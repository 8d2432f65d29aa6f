package queue

import (
	"context"
	"regexp"
	"slices"
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
			"first":    {firstBeforeQuery, []any{"q", 1, long, 7, "c"}, "Index Scan using river_job_prioritized_fetching_index"},
			"last":     {lastBeforeQuery, []any{"q", 1, long, 7, "c"}, "Index Scan Backward using river_job_prioritized_fetching_index"},
			"newest":   {claimNewestQuery, []any{"q", long, 100, "c", 1, 2, []string{"ranges", "0", "user_id"}, true, 2}, "Index Scan Backward using river_job_prioritized_fetching_index"},
			"reclaim":  {reclaimQuery, []any{ids}, "Index Cond: (id = ANY"},
			"complete": {completeQuery, []any{ids, "c"}, "Index Cond: (id = ANY"},
			"delete":   {completeAndDeleteQuery, []any{ids}, "Index Cond: (id = ANY"},
			"mark":     {markSuspectsQuery, []any{ids, "c"}, "Index Cond: (id = ANY"},
			"fail":     {failQuery, []any{ids, "c", []string{"available", "available"}, []bool{true, true}, []time.Duration{1, 1}, [][]byte{[]byte("{}"), []byte("{}")}}, "Index Cond: (id = failed.id)"},
			"finished": {deleteFinishedQuery, []any{100, "completed", time.Hour, long}, "Index Cond: ((state = 'completed'::river.river_job_state) AND (finalized_at < "},
			"promote":  {promoteQuery, []any{[]string{"q"}}, "river_job_prioritized_fetching_index"},
			"rescue":   {rescueQuery, []any{time.Minute, DeadAfter}, "Index Cond: (state = 'running'"},
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
				if mode == "force_custom_plan" && !strings.Contains(plan, q.has) || strings.Contains(plan, "Seq Scan on river_job") || slices.Contains([]string{"claim", "newest", "waiting", "first", "last", "finished"}, name) && strings.Contains(plan, "Sort") {
					t.Errorf("%s, %s waiting, %s:\n%s", name, waiting, mode, plan)
				}
				_ = tx.Rollback(t.Context())
			}
		}
	}
}

// TestBackwardScansStop: neither the claim of the newest jobs nor the search for the last job
// before a position walks over the backlog.
func TestBackwardScansStop(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	var oldest, newest time.Time
	var first int64
	err := pool.QueryRow(t.Context(), `
		WITH waiting AS (
			INSERT INTO river.river_job (kind, queue, args, max_attempts, scheduled_at)
			SELECT 'k', 'q', '{}', 25, now() - i % 2 * interval '1 minute' FROM generate_series(1, 40000) AS i RETURNING id, scheduled_at)
		SELECT min(scheduled_at), max(scheduled_at), min(id) FROM waiting`).Scan(&oldest, &newest, &first)
	if err != nil {
		t.Fatal(err)
	}
	for name, q := range map[string]struct {
		sql  string
		args []any
	}{
		"newest": {claimNewestQuery, []any{"q", newest, 16, "c", 0, 1, []string{}, false, 1}},
		"last":   {lastBeforeQuery, []any{"q", 1, oldest, first, "c"}},
	} {
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // also where the test fails
		if _, err := tx.Exec(t.Context(), `SET LOCAL enable_seqscan = off`); err != nil {
			t.Fatal(err)
		}
		rows, err := tx.Query(t.Context(), "EXPLAIN (ANALYZE, BUFFERS) "+Schema(dbtest.RiverSchema).SQL(q.sql), q.args...)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		const pages = 10
		plan := strings.Join(lines, "\n")
		if found := regexp.MustCompile(`Buffers: shared hit=(\d+)`).FindStringSubmatch(plan); found == nil {
			t.Errorf("%s: no page was read:\n%s", name, plan)
		} else if n, _ := strconv.Atoi(found[1]); n > pages {
			t.Errorf("%s found nothing and read %d pages, want %d at most:\n%s", name, n, pages, plan)
		}
		_ = tx.Rollback(t.Context())
	}
}
