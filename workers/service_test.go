package workers

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

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

// TestVersions works jobs one at a time in another order than they were enqueued in; the
// rows must be those of the order of enqueuing.
func TestVersions(t *testing.T) {
	t.Parallel()
	const id, user = 100, 1
	a := func(load float64) []jobs.Activity { return []jobs.Activity{run(id, user, "2025-03-01", load, 0)} }
	moved := []jobs.Activity{run(id, user, "2025-04-01", 5, 0)}
	gone := []jobs.Activity{deletion(id, user, "2025-03-01")}
	for name, c := range map[string]struct {
		first  [][]jobs.Activity // drained before the rest is enqueued
		groups [][]jobs.Activity
		order  []int // in which the groups are worked
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

func TestRefusedJobInABatchOf500(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `ALTER TABLE activities ADD CONSTRAINT injected CHECK (total_load_miles <> 666)`)
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
	stop := startWorking(t, s)
	await(t, pool, `SELECT count(*) >= 499 FROM activities`)
	stop()
	if got := query[int](t, pool, `SELECT count(*) FROM activities`); got != 499 {
		t.Errorf("activities = %d, want 499", got)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE kind = 'activity_ingest' AND errors IS NOT NULL`); got != 1 {
		t.Errorf("%d jobs have errors, want only the poison job", got)
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
	_, err := New(t.Context(), pool, c, slog.New(slog.DiscardHandler), nil)
	if err == nil || !strings.Contains(err.Error(), "= 18 > 8") {
		t.Errorf("New = %v, want a refusal that shows the sum", err)
	}
}
