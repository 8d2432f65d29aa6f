package workers

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/internal/lane"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestHotQueriesUseTheIndexes: no statement of a batch scans a large table.
func TestHotQueriesUseTheIndexes(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, total_load_miles) SELECT i, i % 500 + 1, date '2020-01-01' + i / 500, 1 FROM generate_series(1, 200000) i`)
	execute(t, pool, `INSERT INTO user_locks SELECT generate_series(1, 5000)`)
	execute(t, pool, `INSERT INTO ingest_versions SELECT i % 500 + 1, i, i FROM generate_series(1, 50000) i`)
	execute(t, pool, `ANALYZE`)
	statements, err := activityStatementsFor(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	one := run(1, 1, "2025-01-01", 1, 1)
	batch := upserts{activities: []*jobs.Activity{&one}, versions: []int64{1}, keeps: []bool{true}, days: []*bool{nil}, alone: []*bool{nil}}
	results := planResults{own: map[int64]acwr.Values{1: {}}}
	whole, err := batch.args(results)
	if err != nil {
		t.Fatal(err)
	}
	batch.partial = true
	partial, err := batch.args(results)
	if err != nil {
		t.Fatal(err)
	}
	date := []time.Time{time.Date(2020, 3, 1, 0, 0, 0, 0, time.UTC)}
	for name, q := range map[string]struct {
		sql  string
		args []any
	}{
		"locks":                      {lockUsersQuery, []any{[]int32{1, 2}}},
		"ensure":                     {ensureUserLocksQuery, []any{[]int32{1, 2}}},
		"stored":                     {storedQuery, []any{[]int64{1, 2}}},
		"restdays":                   {restDaysQuery, []any{[]int32{1}, date, date}},
		"recorded":                   {recordedQuery, []any{[]int32{1}, []int64{1}}},
		"settings":                   {settingsQuery, []any{[]int32{1}}},
		"windows":                    {windowsQuery, []any{[]int32{1}, date, date, []int64{1, 2}, 1000}},
		"insert":                     {statements.whole.insert, whole},
		"update":                     {statements.whole.update, whole},
		"insert of partial versions": {statements.partial.insert, partial},
		"update by partial versions": {statements.partial.update, partial},
		"weighed windows":            {weighedWindowsQuery, []any{[]int32{1}, date, date, nil, nil}},
		"compared":                   {statements.compared, []any{[]int64{1, 2}, []int64{3}, nil, nil, nil, nil, nil}},
		"results of rows without an id": {writeKeylessResultsQuery, []any{
			[]int64{0}, []int32{1}, date, []float32{1}, []float32{1}, []float32{1}, []float32{1}, []float32{1}, []float32{1}, []float32{1},
		}},
		"results": {writeResultsQuery, []any{
			[]int64{1}, []int32{1}, date, []float32{1}, []float32{1}, []float32{1}, []float32{1}, []float32{1}, []float32{1}, []float32{1},
		}},
	} {
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			tx, err := pool.BeginTx(t.Context(), pgx.TxOptions{BeginQuery: pool.BeginQuery(lane.Settings)}) // as every batch does
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(t.Context(), "SET LOCAL plan_cache_mode = "+mode); err != nil {
				t.Fatal(err)
			}
			r, err := tx.Query(t.Context(), "EXPLAIN "+q.sql, q.args...)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			plan, err := pgx.CollectRows(r, pgx.RowTo[string])
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if text := strings.Join(plan, "\n"); strings.Contains(text, "Seq Scan on ") {
				t.Errorf("%s, %s: plan scans a table:\n%s", name, mode, text)
			}
			_ = tx.Rollback(t.Context())
		}
	}
}
