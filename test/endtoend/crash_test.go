package endtoend

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func absolute(t *testing.T, path string) string {
	t.Helper()
	full, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return full
}

// enqueueHistories inserts n jobs of one activity each, spread over users and days.
func enqueueHistories(t *testing.T, pool *dbpool.Pool, n int) {
	t.Helper()
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	first := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	args := make([]jobs.ActivityIngest, n)
	for i := range args {
		load, trimp := float64(i%13)+0.25, float64(i%97)
		args[i].Activities = []jobs.Activity{{
			ActivityID: int64(i + 1), UserID: int32(i%200 + 1), Date: first.AddDate(0, 0, i/200).Format(time.DateOnly),
			TotalLoadMiles: &load, Trimp: &trimp,
		}}
	}
	for len(args) > 0 {
		part := args[:min(len(args), 5000)]
		if _, err := enqueuer.Ingest(t.Context(), jobs.PriorityLive, part...); err != nil {
			t.Fatal(err)
		}
		args = args[len(part):]
	}
}

// TestKilledWorker kills a worker in the middle of its work; another one finishes it.
func TestKilledWorker(t *testing.T) {
	t.Parallel()
	const n = 20_000
	url := dbtest.MigratedURL(t)
	pool := dbtest.Open(t, url)
	enqueueHistories(t, pool, n)
	first := commands.Start(t, url, nil, "worker", "run")
	eventually(t, time.Minute, "a part is done", func() bool {
		return query[int](t, pool, `SELECT count(*) FROM activities`) > n/10
	})
	first.Signal(t, syscall.SIGKILL)
	<-first.Done
	if done := query[int](t, pool, `SELECT count(*) FROM activities`); done == n {
		t.Fatal("the worker was done before it was killed")
	}
	held := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE state = 'running'`)
	commands.Start(t, url, nil, "worker", "run")
	eventually(t, 2*time.Minute, "everything is done", func() bool { return unfinished(t, pool) == 0 })
	t.Logf("the killed worker held %d jobs", held)
	if got := query[int](t, pool, `SELECT count(*) FROM activities`); got != n {
		t.Errorf("activities = %d, want %d", got, n)
	}
	checkOracle(t, pool)
}

// TestSIGTERMUnderLoad stops a worker in the middle of its work: in time, with nothing
// lost and no attempt spent.
func TestSIGTERMUnderLoad(t *testing.T) {
	t.Parallel()
	const n = 20_000
	url := dbtest.MigratedURL(t)
	pool := dbtest.Open(t, url)
	enqueueHistories(t, pool, n)
	worker := commands.Start(t, url, []string{"TMWORKER_SHUTDOWN_GRACE=15s"}, "worker", "run")
	eventually(t, time.Minute, "a part is done", func() bool {
		return query[int](t, pool, `SELECT count(*) FROM activities`) > n/10
	})
	terminated := time.Now()
	worker.Signal(t, syscall.SIGTERM)
	if code := worker.Exit(t, 20*time.Second); code != 0 {
		t.Errorf("exit code = %d, want 0", code)
	}
	if took := time.Since(terminated); took > 15*time.Second {
		t.Errorf("stopping took %v, want less than the grace period of 15s", took)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE state = 'running'`); got != 0 {
		t.Errorf("%d jobs were left running", got)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE errors IS NOT NULL OR (state = 'available' AND attempt > 0)`); got != 0 {
		t.Errorf("%d jobs spent an attempt", got)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM activities`); got == n {
		t.Error("the worker was done before it was stopped")
	}
	if _, errs, code := commands.Run(t, url, "worker", "run", "--drain"); code != 0 {
		t.Fatalf("worker run --drain = %d\n%s", code, errs)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM activities`); got != n {
		t.Errorf("activities = %d, want %d", got, n)
	}
	checkOracle(t, pool)
}
