package migrations_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/oracle"
	"github.com/trainingmonkey/worker/test/dbtest"
	"github.com/trainingmonkey/worker/workers"
)

func newService(t *testing.T, pool *dbpool.Pool) *workers.Service {
	t.Helper()
	s, err := workers.New(t.Context(), pool, config.Default(), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// runService works the queues until the test ends.
func runService(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	s := newService(t, pool)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
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

// TestWorkerStartsOnCommit enqueues by SQL while a worker waits: it must wake by the
// notification, not by the next poll.
func TestWorkerStartsOnCommit(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	runService(t, pool)
	conn, _ := connectAsEnqueuer(t, pool)
	enqueue := func(sql string) time.Duration {
		t.Helper()
		var id int64
		if err := conn.QueryRow(t.Context(), sql).Scan(&id); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for time.Since(start) < time.Minute {
			if text(t, pool, `SELECT count(*)::text FROM river.river_job WHERE finalized_at IS NULL`) == "0" {
				return time.Since(start)
			}
			time.Sleep(time.Millisecond)
		}
		t.Fatalf("%s was not worked within a minute", sql)
		return 0
	}
	const ingest = `SELECT river.enqueue_activity_ingest('[{"activity_id": 12000000001, "user_id": 7, "date": "2025-09-28", "total_load_miles": 10, "trimp": 8}]')`
	enqueue(ingest) // waits until the service has started
	const ratios = `SELECT concat_ws(' ', seven_day_avg_load, twentyeight_day_avg_load, acute_chronic_ratio) FROM activities WHERE activity_id = 12000000001`
	if got := text(t, pool, ratios); got != "1.4285715 0.35714287 4" {
		t.Errorf("after ingest: %s", got)
	}
	checkOracle(t, pool)
	fastest := time.Minute
	for range 5 {
		execute(t, pool, `UPDATE activities SET total_load_miles = total_load_miles + 1`)
		fastest = min(fastest, enqueue(`SELECT river.enqueue_acwr_recalc(7, '2025-09-28', '2025-09-28')`))
		checkOracle(t, pool)
	}
	if fastest > time.Second {
		t.Errorf("a recalculation took %v at best, want less than a second", fastest)
	}
	t.Logf("enqueue to completed: %v at best", fastest)
}
