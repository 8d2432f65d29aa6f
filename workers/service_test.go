package workers

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/dbtest"
	"github.com/trainingmonkey/worker/internal/oracle"
	"github.com/trainingmonkey/worker/internal/pgtest"
	"github.com/trainingmonkey/worker/jobs"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func ptr[T any](v T) *T { return &v }

// run is an activity with the loads that matter.
func run(id int64, user int32, date string, load, trimp float64) jobs.Activity {
	return jobs.Activity{ActivityID: id, UserID: user, Date: date, Name: ptr("Run"), Type: ptr("Run"), TotalLoadMiles: &load, Trimp: &trimp}
}

func deletion(id int64, user int32, date string) jobs.Activity {
	return jobs.Activity{ActivityID: id, UserID: user, Date: date, Deleted: true}
}

func newService(t *testing.T, pool *dbpool.Pool, c config.Config) *Service {
	t.Helper()
	s, err := New(t.Context(), pool, c, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func drain(t *testing.T, pool *dbpool.Pool) Stats {
	t.Helper()
	s := newService(t, pool, config.Default())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatal("the queues were not drained within a minute")
	}
	return s.Stats()
}

// enqueue inserts one job for each group of activities, in order.
func enqueue(t *testing.T, pool *dbpool.Pool, groups ...[]jobs.Activity) []int64 {
	t.Helper()
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	args := make([]jobs.ActivityIngest, len(groups))
	for i, group := range groups {
		args[i].Activities = group
	}
	ids, err := enqueuer.Ingest(t.Context(), jobs.PriorityLive, args...)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func query[T any](t *testing.T, pool *dbpool.Pool, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func execute(t *testing.T, pool *dbpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func checkOracle(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	wrong, total, err := oracle.Check(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range wrong {
		t.Error(m)
	}
	if total > 0 {
		t.Errorf("%d rows are wrong", total)
	}
}

// rows returns "id user date load" of every activity.
func rows(t *testing.T, pool *dbpool.Pool) string {
	t.Helper()
	r, err := pool.Query(t.Context(), `SELECT format('%s %s %s %s', activity_id, user_id, date, total_load_miles) FROM activities ORDER BY activity_id`)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(r, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "; ")
}

func TestIngestThenRecalc(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	var groups [][]jobs.Activity
	day := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 400 {
		groups = append(groups, []jobs.Activity{run(int64(i+1), int32(i%7+1), day.AddDate(0, 0, i/3).Format(time.DateOnly), float64(i%11), float64(i%90))})
	}
	enqueue(t, pool, groups...)
	stats := drain(t, pool)
	if got := query[int](t, pool, `SELECT count(*) FROM activities`); got != 400 {
		t.Errorf("activities = %d, want 400", got)
	}
	checkOracle(t, pool)
	if stats.Ingest.Committed != 400 || stats.Ingest.Transactions > 20 {
		t.Errorf("ingest stats = %+v, want 400 jobs in few transactions", stats.Ingest)
	}

	before := query[string](t, pool, `SELECT string_agg(xmin::text, ',' ORDER BY activity_id) FROM activities`)
	enqueue(t, pool, groups...)
	stats = drain(t, pool)
	if after := query[string](t, pool, `SELECT string_agg(xmin::text, ',' ORDER BY activity_id) FROM activities`); after != before {
		t.Error("ingesting the same again wrote rows")
	}
	if stats.Recalc.Committed != 0 || stats.Ingest.Committed != 400 {
		t.Errorf("ingesting the same again: stats = %+v, want 400 ingest jobs and no recalculation", stats)
	}
}

// TestVersions works jobs one at a time in an order that is not that in which
// they were enqueued; the rows must be those of the order of enqueueing.
func TestVersions(t *testing.T) {
	t.Parallel()
	const id, user = 100, 1
	a := func(load float64) []jobs.Activity { return []jobs.Activity{run(id, user, "2025-03-01", load, 0)} }
	moved := []jobs.Activity{run(id, user, "2025-04-01", 5, 0)}
	gone := []jobs.Activity{deletion(id, user, "2025-03-01")}
	for name, c := range map[string]struct {
		first  [][]jobs.Activity // drained before the rest is enqueued
		groups [][]jobs.Activity
		order  []int // in which groups are worked
		want   string
	}{
		"older upsert later":             {nil, [][]jobs.Activity{a(1), a(2)}, []int{1, 0}, "100 1 2025-03-01 2"},
		"older upsert after delete":      {nil, [][]jobs.Activity{a(1), gone}, []int{1, 0}, ""},
		"upsert after delete":            {nil, [][]jobs.Activity{a(1), gone, a(3)}, []int{0, 1, 2}, "100 1 2025-03-01 3"},
		"delete between, worked last":    {nil, [][]jobs.Activity{a(1), gone, a(3)}, []int{2, 0, 1}, "100 1 2025-03-01 3"},
		"back to the stored value":       {[][]jobs.Activity{a(1)}, [][]jobs.Activity{a(2), a(1)}, []int{1, 0}, "100 1 2025-03-01 1"},
		"moved, older one later":         {nil, [][]jobs.Activity{a(1), moved}, []int{1, 0}, "100 1 2025-04-01 5"},
		"stored, delete, older edit":     {[][]jobs.Activity{a(1)}, [][]jobs.Activity{a(2), gone}, []int{1, 0}, ""},
		"twice in one job, the last one": {nil, [][]jobs.Activity{append(a(1), a(7)...)}, []int{0}, "100 1 2025-03-01 7"},
		"deleted and back in one job":    {[][]jobs.Activity{a(1)}, [][]jobs.Activity{append(gone, a(8)...)}, []int{0}, "100 1 2025-03-01 8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := dbtest.Migrated(t)
			if len(c.first) > 0 {
				enqueue(t, pool, c.first...)
				drain(t, pool)
			}
			ids := enqueue(t, pool, c.groups...)
			execute(t, pool, `UPDATE river.river_job SET state = 'scheduled', scheduled_at = now() + interval '1 day' WHERE id = ANY($1)`, ids)
			for _, i := range c.order {
				execute(t, pool, `UPDATE river.river_job SET state = 'available', scheduled_at = now() WHERE id = $1`, ids[i])
				drain(t, pool)
			}
			if got := rows(t, pool); got != c.want {
				t.Errorf("rows = %q, want %q", got, c.want)
			}
			checkOracle(t, pool)
		})
	}
}

func TestActivityOfAnotherUserIsRejected(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	enqueue(t, pool, []jobs.Activity{run(1, 1, "2025-01-01", 5, 50)})
	drain(t, pool)
	enqueue(t, pool,
		[]jobs.Activity{run(1, 2, "2025-01-02", 9, 90), run(2, 2, "2025-01-02", 3, 30)},
		[]jobs.Activity{deletion(1, 2, "2025-01-01")},
		[]jobs.Activity{run(3, 1, "2025-01-03", 1, 10)}, // in one batch, the first one has it
		[]jobs.Activity{run(3, 2, "2025-01-03", 1, 10)},
	)
	drain(t, pool)
	if got, want := rows(t, pool), "1 1 2025-01-01 5; 2 2 2025-01-02 3; 3 1 2025-01-03 1"; got != want {
		t.Errorf("rows = %q, want %q", got, want)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM ingest_rejects WHERE reason = 'activity_id belongs to another user' AND user_id = 2`); got != 3 {
		t.Errorf("rejects = %d, want 3", got)
	}
	checkOracle(t, pool)
}

func TestUntouchedColumnsAndPartialEdit(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	enqueue(t, pool, []jobs.Activity{run(1, 1, "2025-01-01", 5, 50)})
	drain(t, pool)
	execute(t, pool, `UPDATE activities SET notes = 'felt good', perceived_effort = 7, feeling_score = 4, weight_lbs = 150`)
	edited := run(1, 1, "2025-01-01", 5, 50)
	edited.Name = ptr("Morning Run")
	enqueue(t, pool, []jobs.Activity{edited})
	stats := drain(t, pool)
	got := query[string](t, pool, `SELECT concat_ws(' ', name, notes, perceived_effort, feeling_score, weight_lbs, acute_chronic_ratio) FROM activities`)
	if want := "Morning Run felt good 7 4 150 4"; got != want {
		t.Errorf("row = %q, want %q", got, want)
	}
	if stats.Recalc.Committed != 0 {
		t.Error("a new name recalculated")
	}
}

// TestInvalidActivityInAcceptedJob enqueues by plain SQL what no validation saw.
func TestInvalidActivityInAcceptedJob(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	bad := []string{
		`{"user_id": 1, "date": "2025-01-01"}`,
		`{"activity_id": 2, "user_id": 1, "date": "2025-02-30"}`,
		`{"activity_id": 3, "user_id": 1, "date": "2025-01-01", "trimp": 1e39}`,
		`{"activity_id": 4, "user_id": 1, "date": "2025-01-01", "total_load_miles": "NaN"}`,
		`{"activity_id": 5, "user_id": 1, "date": "2025-01-01", "total_load_miles": -1}`,
		`{"activity_id": 6, "user_id": 3000000000, "date": "2025-01-01"}`,
		`{"activity_id": 7, "user_id": 1, "date": "2025-01-01", "trimp": 1e400}`,
		`"text"`, `null`, `[]`, `{}`,
		`{"activity_id": 8, "user_id": 1, "date": "2025-01-01", "trimp_calculation_method": "` + strings.Repeat("x", 21) + `"}`,
	}
	args := fmt.Sprintf(`{"activities": [%s, {"activity_id": 99, "user_id": 1, "date": "2025-01-01", "total_load_miles": 3, "later_field": true}]}`, strings.Join(bad, ","))
	execute(t, pool, `INSERT INTO river.river_job (args, kind, queue, max_attempts) VALUES ($1, 'activity_ingest', 'ingest', 25)`, args)
	drain(t, pool)
	if got, want := rows(t, pool), "99 1 2025-01-01 3"; got != want {
		t.Errorf("rows = %q, want %q", got, want)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM ingest_rejects WHERE reason <> '' AND job_id = (SELECT min(id) FROM river.river_job)`); got != len(bad) {
		t.Errorf("rejects = %d, want %d", got, len(bad))
	}
	if got := query[string](t, pool, `SELECT payload->>'date' FROM ingest_rejects WHERE activity_id = 2 AND user_id = 1`); got != "2025-02-30" {
		t.Errorf("payload kept = %q", got)
	}
	checkOracle(t, pool)
}

func TestArgsThatDoNotDecodeAreCancelled(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	bad := map[string][]string{
		"activity_ingest": {`{"activities": 7}`, `{"activities": []}`, `{}`, `[]`, `"x"`},
		"acwr_recalc":     {`{"ranges": []}`, `{"ranges": [{"user_id": 1, "from": "2025-02-30", "to": "2025-03-01"}]}`, `{"ranges": [{"user_id": 1, "from": "2025-03-02", "to": "2025-03-01"}]}`},
	}
	n := 0
	for kind, list := range bad {
		queue := map[string]string{"activity_ingest": "ingest", "acwr_recalc": "recalc"}[kind]
		for _, args := range list {
			n++
			execute(t, pool, `INSERT INTO river.river_job (args, kind, queue, max_attempts) VALUES ($1, $2, $3, 25)`, args, kind, queue)
		}
	}
	enqueue(t, pool, []jobs.Activity{run(1, 1, "2025-01-01", 5, 50)})
	drain(t, pool)
	if got := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE state = 'cancelled' AND errors[1]->>'error' LIKE '%do not decode%'`); got != n {
		t.Errorf("cancelled with the reason = %d, want %d", got, n)
	}
	checkOracle(t, pool)
}

func TestRefusedJobInABatchOf500(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `ALTER TABLE activities ADD CONSTRAINT planted CHECK (total_load_miles <> 666)`)
	var groups [][]jobs.Activity
	for i := range 500 {
		load := float64(i % 20)
		if i == 321 {
			load = 666
		}
		groups = append(groups, []jobs.Activity{run(int64(i+1), int32(i%50+1), "2025-06-01", load, 10)})
	}
	enqueue(t, pool, groups...)
	s := newService(t, pool, config.Default())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	deadline := time.Now().Add(8 * time.Second)
	for query[int](t, pool, `SELECT count(*) FROM activities`) < 499 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM activities`); got != 499 {
		t.Errorf("activities = %d, want 499", got)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE kind = 'activity_ingest' AND errors IS NOT NULL`); got != 1 {
		t.Errorf("%d jobs have errors, want the culprit alone", got)
	}
	if got := query[string](t, pool, `SELECT args->'activities'->0->>'activity_id' FROM river.river_job WHERE errors IS NOT NULL`); got != "322" {
		t.Errorf("the job with the error is that of activity %s, want 322", got)
	}
}

func TestBudgetTooSmallIsRefused(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	c := config.Default()
	c.Database.MaxConns = 8
	_, err := New(t.Context(), pool, c, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "= 18 > 8") {
		t.Errorf("New = %v, want a refusal that shows the sum", err)
	}
}

// TestHotQueriesUseTheIndexes keeps every statement of a batch off sequential
// scans once the tables are large.
func TestHotQueriesUseTheIndexes(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, total_load_miles) SELECT i, i % 500 + 1, date '2020-01-01' + i / 500, 1 FROM generate_series(1, 200000) i`)
	execute(t, pool, `INSERT INTO user_locks SELECT generate_series(1, 5000)`)
	execute(t, pool, `INSERT INTO ingest_versions SELECT i % 500 + 1, i, i FROM generate_series(1, 50000) i`)
	execute(t, pool, `ANALYZE`)
	upsert, err := upsertQuery(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	one := run(1, 1, "2025-01-01", 1, 1)
	upsertArguments, err := upsertArgs([]*jobs.Activity{&one}, []int64{1})
	if err != nil {
		t.Fatal(err)
	}
	date := []time.Time{time.Date(2020, 3, 1, 0, 0, 0, 0, time.UTC)}
	for name, q := range map[string]struct {
		sql  string
		args []any
	}{
		"locks":    {lockUsersQuery, []any{[]int32{1, 2}}},
		"ensure":   {ensureUserLocksQuery, []any{[]int32{1, 2}}},
		"stored":   {storedQuery, []any{[]int64{1, 2}}},
		"recorded": {recordedQuery, []any{[]int32{1}, []int64{1}}},
		"windows":  {windowsQuery, []any{[]int32{1}, date, date}},
		"upsert":   {upsert, upsertArguments},
		"results": {writeResultsQuery, []any{
			[]int64{1}, []int32{1}, date, []float32{1}, []float32{1}, []float32{1}, []float32{1}, []float32{1}, []float32{1}, []float32{1},
		}},
	} {
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			tx, err := pool.Begin(t.Context())
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
