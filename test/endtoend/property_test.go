package endtoend

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestRandomHistories has two worker processes with different batch sizes work random
// jobs, in another order than they were enqueued in. The rows must be those of a model
// that applies one job after the other, and the results those of the SQL oracle.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	url := dbtest.MigratedURL(t)
	pool := dbtest.Open(t, url)
	commands.Start(t, url, []string{"TMWORKER_BATCHING_MAX_JOBS=2", "TMWORKER_BATCHING_LOOPS=3", "TMWORKER_DATABASE_MAX_CONNS=20"}, "worker", "run")
	commands.Start(t, url, []string{"TMWORKER_BATCHING_MAX_JOBS=40", "TMWORKER_BATCHING_LOOPS=1"}, "worker", "run")
	var cases atomic.Int32
	rapid.Check(t, func(r *rapid.T) {
		h := history{base: int64(cases.Add(1)) * 10, model: map[int64]storedRow{}}
		for range rapid.IntRange(1, 3).Draw(r, "rounds") {
			h.round(t, r, pool)
		}
	})
	t.Logf("%d histories", cases.Load())
}

// history is one random case, with its own users and activities.
type history struct {
	base  int64
	model map[int64]storedRow
}

type storedRow struct {
	ActivityID  int64
	UserID      int32
	Date        string
	Name        string
	Load, Trimp float64
}

const (
	historyUsers      = 3
	historyActivities = 8
)

func (h *history) users() []int32 {
	users := make([]int32, historyUsers)
	for i := range users {
		users[i] = int32(h.base) + int32(i)
	}
	return users
}

// round enqueues random jobs, waits until they are worked, and compares.
func (h *history) round(t *testing.T, r *rapid.T, pool *dbpool.Pool) {
	t.Helper()
	args := make([]jobs.ActivityIngest, rapid.IntRange(1, 12).Draw(r, "jobs"))
	priorities := make([]int, len(args))
	for i := range args {
		priorities[i] = rapid.IntRange(1, 4).Draw(r, "priority")
		for range rapid.IntRange(1, 4).Draw(r, "activities") {
			a := h.activity(r)
			args[i].Activities = append(args[i].Activities, a)
			h.apply(a)
		}
	}
	h.enqueue(t, pool, args, priorities)
	eventually(t, 30*time.Second, "the round is worked", func() bool { return unfinished(t, pool) == 0 })
	if diff := gocmp.Diff(h.want(), h.stored(t, pool), cmpopts.EquateEmpty()); diff != "" {
		r.Fatalf("rows (-want +got):\n%s", diff)
	}
	checkOracle(t, pool, h.users()...)
	if failed := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE errors IS NOT NULL`); failed > 0 {
		r.Fatalf("%d jobs have errors", failed)
	}
}

// activity draws an upsert or a delete, from few values, so that versions repeat, and
// from dates within each other's windows.
func (h *history) activity(r *rapid.T) jobs.Activity {
	n := rapid.Int64Range(0, historyActivities-1).Draw(r, "activity")
	date := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, rapid.IntRange(0, 60).Draw(r, "date"))
	a := jobs.Activity{
		ActivityID: h.base*historyActivities + n,
		UserID:     h.users()[n%historyUsers],
		Date:       date.Format(time.DateOnly),
	}
	if rapid.IntRange(0, 4).Draw(r, "kind") == 0 {
		a.Deleted = true
		return a
	}
	load, trimp := rapid.SampledFrom([]float64{0, 1.1, 6.21, 13.37}).Draw(r, "load"), rapid.SampledFrom([]float64{0, 50, 81.65}).Draw(r, "trimp")
	name := rapid.SampledFrom([]string{"Run", "Ride"}).Draw(r, "name")
	a.TotalLoadMiles, a.Trimp, a.Name = &load, &trimp, &name
	return a
}

// apply is the model's: one version after the other.
func (h *history) apply(a jobs.Activity) {
	if a.Deleted {
		delete(h.model, a.ActivityID)
		return
	}
	h.model[a.ActivityID] = storedRow{a.ActivityID, a.UserID, a.Date, *a.Name, *a.TotalLoadMiles, *a.Trimp}
}

func (h *history) want() []storedRow {
	return slices.SortedFunc(maps.Values(h.model), func(a, b storedRow) int { return cmp.Compare(a.ActivityID, b.ActivityID) })
}

// enqueue inserts the jobs in one transaction, so that all exist before the first is
// worked, each with its own priority.
func (h *history) enqueue(t *testing.T, pool *dbpool.Pool, args []jobs.ActivityIngest, priorities []int) {
	t.Helper()
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	err = pool.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		for i := range args {
			if _, err := enqueuer.IngestTx(ctx, tx, priorities[i], args[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (h *history) stored(t *testing.T, pool *dbpool.Pool) []storedRow {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
		SELECT activity_id, user_id, date::text, name, total_load_miles::numeric::float8, trimp::numeric::float8
		FROM activities WHERE user_id = ANY($1) ORDER BY activity_id`, h.users())
	if err != nil {
		t.Fatal(err)
	}
	stored, err := pgx.CollectRows(rows, pgx.RowToStructByPos[storedRow])
	if err != nil {
		t.Fatal(fmt.Errorf("read rows: %w", err))
	}
	return stored
}
