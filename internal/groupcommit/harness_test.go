package groupcommit

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/dbtest"
	"github.com/trainingmonkey/worker/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// effectArgs is a job whose effect is one row; value 13 is refused by the
// database.
type effectArgs struct {
	Value int `json:"value"`
}

func (effectArgs) Kind() string { return "effect" }

const refusedValue = 13

func writeEffects(ctx context.Context, tx pgx.Tx, jobs []*river.Job[effectArgs]) error {
	ids, values := make([]int64, len(jobs)), make([]int, len(jobs))
	for i, job := range jobs {
		ids[i], values[i] = job.ID, job.Args.Value
	}
	_, err := tx.Exec(ctx, `INSERT INTO effects SELECT * FROM unnest($1::bigint[], $2::int[])`, ids, values)
	return err
}

func testOptions() Options {
	return Options{
		RiverSchema: dbtest.RiverSchema, MaxBatch: 1000, MaxWeight: math.MaxInt, Committers: 2,
		Linger: 200 * time.Millisecond, FlushTimeout: 8 * time.Second, RetryFor: 5 * time.Second, SnoozeFor: time.Second,
		RolloutPercent: 100, Breaker: BreakerOptions{Threshold: 0.01, Window: time.Minute, Cooldown: time.Minute},
	}
}

func effectKind(apply Apply[effectArgs]) Kind[effectArgs] {
	return Kind[effectArgs]{Weigh: func(*river.Job[effectArgs]) int { return 0 }, Apply: apply}
}

func effectsDatabase(t *testing.T) *dbpool.Pool {
	t.Helper()
	pool := dbtest.Migrated(t)
	exec(t, pool, fmt.Sprintf(`CREATE TABLE effects (job_id bigint NOT NULL, value int NOT NULL CHECK (value <> %d))`, refusedValue))
	return pool
}

// runningJobs returns n jobs as River would hand them to Work, with the given
// value, except that the job at each refused index has the refused one.
func runningJobs(t *testing.T, pool *dbpool.Pool, n int, refused ...int) []*river.Job[effectArgs] {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
		INSERT INTO river.river_job (kind, queue, args, state, attempt, attempted_at, attempted_by, max_attempts)
		SELECT 'effect', 'test', '{}', 'running', 1, clock_timestamp(), '{me}', 25 FROM generate_series(1, $1)
		RETURNING id, attempted_at`, n)
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*river.Job[effectArgs], error) {
		job := &river.Job[effectArgs]{JobRow: &rivertype.JobRow{Attempt: 1, MaxAttempts: 25, AttemptedAt: &time.Time{}}}
		return job, row.Scan(&job.ID, job.AttemptedAt)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range refused {
		jobs[i].Args.Value = refusedValue
	}
	return jobs
}

// workAll hands all jobs in at once and returns their verdicts once the engine is
// at rest: it answers a job before it has counted the batch.
func workAll(t *testing.T, e *Engine[effectArgs], jobs []*river.Job[effectArgs]) []error {
	t.Helper()
	verdicts := make([]error, len(jobs))
	var wg sync.WaitGroup
	e.countExecuting(len(jobs)) // as River's fetch would have started them
	for i, job := range jobs {
		wg.Go(func() {
			defer e.countExecuting(-1)
			verdicts[i] = e.Work(t.Context(), job)
		})
	}
	wg.Wait()
	for !atRest(e) {
		time.Sleep(100 * time.Microsecond)
	}
	return verdicts
}

func atRest(e *Engine[effectArgs]) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.committers == 0
}

func exec(t *testing.T, pool *dbpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func count(t *testing.T, pool *dbpool.Pool, sql string, args ...any) int {
	t.Helper()
	var n int
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func completedJobs(t *testing.T, pool *dbpool.Pool) int {
	t.Helper()
	return count(t, pool, `SELECT count(*) FROM river.river_job WHERE state = 'completed' AND finalized_at IS NOT NULL`)
}
