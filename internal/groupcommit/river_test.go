package groupcommit

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/dbtest"
)

// effectWorker is what a worker over an engine looks like.
type effectWorker struct {
	river.WorkerDefaults[effectArgs]
	engine   *Engine[effectArgs]
	returned chan error
}

func (w *effectWorker) Work(ctx context.Context, job *river.Job[effectArgs]) error {
	err := w.engine.Work(ctx, job)
	w.returned <- err
	return err
}

func (w *effectWorker) Middleware(*rivertype.JobRow) []rivertype.WorkerMiddleware {
	return []rivertype.WorkerMiddleware{w.engine.Middleware()}
}

func startClient(t *testing.T, pool *dbpool.Pool, w *effectWorker) *river.Client[pgx.Tx] {
	t.Helper()
	registered := river.NewWorkers()
	river.AddWorker(registered, w)
	client, err := river.NewClient(riverpgxv5.New(pool.Pool), &river.Config{
		Schema: dbtest.RiverSchema, Workers: registered, FetchCooldown: 5 * time.Millisecond,
		Queues:          map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2000}},
		SoftStopTimeout: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		if err := client.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return client
}

// TestZombieLeavesTheOtherAttemptAlone is why ErrTakenOver has the methods it
// has: River decides by job id alone, and must be told nothing.
func TestZombieLeavesTheOtherAttemptAlone(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	var once sync.Once
	w := &effectWorker{returned: make(chan error, 10)}
	w.engine = New(pool, testOptions(), effectKind(func(ctx context.Context, tx pgx.Tx, jobs []*river.Job[effectArgs]) error {
		once.Do(func() {
			exec(t, pool, `UPDATE river.river_job SET attempt = 2, attempted_at = clock_timestamp(), attempted_by = '{other}' WHERE id = $1`, jobs[0].ID)
		})
		return writeEffects(ctx, tx, jobs)
	}))
	client := startClient(t, pool, w)
	if _, err := client.Insert(t.Context(), effectArgs{Value: 1}, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-w.returned; !errors.Is(err, ErrTakenOver) {
		t.Errorf("verdict = %v, want ErrTakenOver", err)
	}
	time.Sleep(time.Second) // River's completer would have written by now: it flushes every 250 ms
	var state string
	var attempt, faults int
	if err := pool.QueryRow(t.Context(), `SELECT state, attempt, coalesce(array_length(errors, 1), 0) FROM river.river_job`).Scan(&state, &attempt, &faults); err != nil {
		t.Fatal(err)
	}
	if state != "running" || attempt != 2 || faults != 0 {
		t.Errorf("job is %s, attempt %d, %d errors; want the other's running attempt 2 untouched", state, attempt, faults)
	}
	if got := count(t, pool, `SELECT count(*) FROM effects`); got != 0 {
		t.Errorf("the zombie left %d effects", got)
	}
}

// TestBurstOfRiverJobs works what was enqueued at once in few transactions.
func TestBurstOfRiverJobs(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	const n = 2000
	w := &effectWorker{returned: make(chan error, n)}
	w.engine = New(pool, testOptions(), effectKind(writeEffects))
	params := make([]river.InsertManyParams, n)
	for i := range params {
		params[i] = river.InsertManyParams{Args: effectArgs{Value: 1}}
	}
	client := startClient(t, pool, w)
	if _, err := client.InsertMany(t.Context(), params); err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := <-w.returned; err != nil {
			t.Fatal(err)
		}
	}
	if got := completedJobs(t, pool); got != n {
		t.Errorf("completed jobs = %d, want %d", got, n)
	}
	if s := w.engine.Stats(); s.Transactions > 20 {
		t.Errorf("%d jobs took %d transactions", n, s.Transactions)
	}
}
