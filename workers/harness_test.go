package workers

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/oracle"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func ptr[T any](v T) *T { return &v }

// run is an activity with the loads that results are computed from.
func run(id int64, user int32, date string, load, trimp float64) jobs.Activity {
	return jobs.Activity{ActivityID: id, UserID: user, Date: date, Name: ptr("Run"), Type: ptr("Run"), TotalLoadMiles: &load, Trimp: &trimp}
}

func deletion(id int64, user int32, date string) jobs.Activity {
	return jobs.Activity{ActivityID: id, UserID: user, Date: date, Deleted: true}
}

func newService(t *testing.T, pool *dbpool.Pool, c config.Config) *Service {
	t.Helper()
	s, err := New(t.Context(), pool, c, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func drain(t *testing.T, pool *dbpool.Pool) Stats {
	t.Helper()
	return drainWith(t, pool, config.Default())
}

func drainWith(t *testing.T, pool *dbpool.Pool, c config.Config) Stats {
	t.Helper()
	s := newService(t, pool, c)
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

// startWorking runs a service until stop is called or the test ends.
func startWorking(t *testing.T, s *Service) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// noJobsAreLeft is a condition of await.
const noJobsAreLeft = `SELECT NOT EXISTS (SELECT FROM river.river_job WHERE finalized_at IS NULL)`

// await returns once the condition holds.
func await(t *testing.T, pool *dbpool.Pool, condition string, args ...any) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !query[bool](t, pool, condition, args...); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", condition)
		}
	}
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
