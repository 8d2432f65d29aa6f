package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
		job := &river.Job[effectArgs]{JobRow: &rivertype.JobRow{Attempt: 1, AttemptedAt: &time.Time{}}}
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

// workAll hands all jobs in at once and returns their verdicts.
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
	return verdicts
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

func TestJobsShareTransactions(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	e := New(pool, testOptions(), effectKind(writeEffects))
	for i, err := range workAll(t, e, runningJobs(t, pool, 500)) {
		if err != nil {
			t.Fatalf("verdict of job %d = %v, want nil", i, err)
		}
	}
	if got := count(t, pool, `SELECT count(DISTINCT job_id) FROM effects`); got != 500 {
		t.Errorf("effects = %d, want 500", got)
	}
	if got := completedJobs(t, pool); got != 500 {
		t.Errorf("completed jobs = %d, want 500", got)
	}
	if s := e.Stats(); s.Transactions != 1 || s.Committed != 500 {
		t.Errorf("stats = %+v, want 500 jobs in 1 transaction", s)
	}
}

func TestRefusedJobCostsTheOthersNothing(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 3, 64, 500} {
		for _, culprit := range []int{0, n / 2, n - 1} {
			t.Run(fmt.Sprintf("%d of %d", culprit, n), func(t *testing.T) {
				t.Parallel()
				pool := effectsDatabase(t)
				e := New(pool, testOptions(), effectKind(writeEffects))
				started := time.Now()
				verdicts := workAll(t, e, runningJobs(t, pool, n, culprit))
				elapsed := time.Since(started)
				for i, err := range verdicts {
					var pgErr *pgconn.PgError
					if guilty := errors.As(err, &pgErr) && pgErr.Code == "23514"; guilty != (i == culprit) || (i != culprit && err != nil) {
						t.Errorf("verdict of job %d = %v", i, err)
					}
				}
				if got := completedJobs(t, pool); got != n-1 {
					t.Errorf("completed jobs = %d, want %d", got, n-1)
				}
				extra, most := e.Stats().Transactions-1, 2*math.Log2(float64(n))+1
				if float64(extra) > most || extra < 1 {
					t.Errorf("%d extra transactions, want 1 to %.1f", extra, most)
				}
				if elapsed > 5*time.Second {
					t.Errorf("took %v", elapsed)
				}
			})
		}
	}
}

func TestPanicFailsItsJobAlone(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	e := New(pool, testOptions(), effectKind(func(ctx context.Context, tx pgx.Tx, jobs []*river.Job[effectArgs]) error {
		for _, job := range jobs {
			if job.Args.Value == refusedValue {
				panic("cannot\x00bear it")
			}
		}
		return writeEffects(ctx, tx, jobs)
	}))
	verdicts := workAll(t, e, runningJobs(t, pool, 20, 7))
	var panicked *PanicError
	if !errors.As(verdicts[7], &panicked) || !strings.Contains(panicked.Stack, "engine_test") {
		t.Errorf("verdict of the panicking job = %v, want a PanicError with its stack", verdicts[7])
	}
	if got := completedJobs(t, pool); got != 19 {
		t.Errorf("completed jobs = %d, want 19", got)
	}
}

// TestTakenOverJobLeavesTheBatch takes a job away between effects and
// completion, as a rescue would while this process is paused.
func TestTakenOverJobLeavesTheBatch(t *testing.T) {
	t.Parallel()
	for name, takeOver := range map[string]string{
		"next attempt":           `UPDATE river.river_job SET attempt = 2, attempted_at = clock_timestamp() WHERE id = $1`,
		"same attempt number":    `UPDATE river.river_job SET attempted_at = clock_timestamp() WHERE id = $1`,
		"returned to the queue":  `UPDATE river.river_job SET state = 'available' WHERE id = $1`,
		"completed by the other": `UPDATE river.river_job SET state = 'completed', attempt = 2, attempted_at = clock_timestamp(), finalized_at = now() WHERE id = $1`,
		"deleted":                `DELETE FROM river.river_job WHERE id = $1`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := effectsDatabase(t)
			jobs := runningJobs(t, pool, 10)
			lost := jobs[4]
			var once sync.Once
			e := New(pool, testOptions(), effectKind(func(ctx context.Context, tx pgx.Tx, batch []*river.Job[effectArgs]) error {
				err := writeEffects(ctx, tx, batch)
				once.Do(func() { exec(t, pool, takeOver, lost.ID) })
				return err
			}))
			for i, err := range workAll(t, e, jobs) {
				if i == 4 && !errors.Is(err, ErrTakenOver) {
					t.Errorf("verdict of the lost job = %v, want ErrTakenOver", err)
				}
				if i != 4 && err != nil {
					t.Errorf("verdict of job %d = %v, want nil", i, err)
				}
			}
			if got := count(t, pool, `SELECT count(*) FROM effects WHERE job_id = $1`, lost.ID); got != 0 {
				t.Errorf("the lost job left %d effects", got)
			}
			if got := count(t, pool, `SELECT count(DISTINCT job_id) FROM effects`); got != 9 {
				t.Errorf("effects of %d other jobs, want 9", got)
			}
		})
	}
}

func TestTransientFaultRunsTheBatchAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"40001", "40P01", "57P01", "53300", "55P03"} {
		pool := effectsDatabase(t)
		var calls atomic.Int32
		e := New(pool, testOptions(), effectKind(func(ctx context.Context, tx pgx.Tx, jobs []*river.Job[effectArgs]) error {
			if calls.Add(1) <= 3 {
				return fmt.Errorf("write: %w", &pgconn.PgError{Code: code})
			}
			return writeEffects(ctx, tx, jobs)
		}))
		for _, err := range workAll(t, e, runningJobs(t, pool, 30)) {
			if err != nil {
				t.Errorf("%s: verdict = %v, want nil", code, err)
			}
		}
		if s := e.Stats(); s.Retries != 3 || s.Bisections != 0 || s.Transactions != 4 {
			t.Errorf("%s: stats = %+v, want 3 retries of the whole batch", code, s)
		}
	}
}

func TestLastingFaultSnoozes(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	options := testOptions()
	options.RetryFor = 100 * time.Millisecond
	e := New(pool, options, effectKind(func(context.Context, pgx.Tx, []*river.Job[effectArgs]) error {
		return &pgconn.PgError{Code: "08006"}
	}))
	for _, err := range workAll(t, e, runningJobs(t, pool, 5)) {
		var snooze *rivertype.JobSnoozeError
		if !errors.As(err, &snooze) || snooze.Duration != options.SnoozeFor {
			t.Errorf("verdict = %v, want a snooze of %v", err, options.SnoozeFor)
		}
	}
}

// answerLost is a database whose first commit succeeds and says it did not.
type answerLost struct {
	Beginner
	done atomic.Bool
}

func (a *answerLost) Begin(ctx context.Context) (pgx.Tx, error) {
	tx, err := a.Beginner.Begin(ctx)
	return &answerLostTx{tx, a}, err
}

type answerLostTx struct {
	pgx.Tx
	db *answerLost
}

func (tx *answerLostTx) Commit(ctx context.Context) error {
	err := tx.Tx.Commit(ctx)
	if err == nil && tx.db.done.CompareAndSwap(false, true) {
		return fmt.Errorf("commit: %w", io.ErrUnexpectedEOF)
	}
	return err
}

func TestCommitWhoseAnswerIsLostCountsOnce(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	e := New(&answerLost{Beginner: pool}, testOptions(), effectKind(writeEffects))
	for i, err := range workAll(t, e, runningJobs(t, pool, 50)) {
		if err != nil {
			t.Errorf("verdict of job %d = %v, want nil", i, err)
		}
	}
	if got := count(t, pool, `SELECT count(*) FROM effects`); got != 50 {
		t.Errorf("effects = %d, want 50", got)
	}
}

func TestOtherErrorsAreEveryJobsOwn(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	e := New(pool, testOptions(), effectKind(func(ctx context.Context, tx pgx.Tx, _ []*river.Job[effectArgs]) error {
		_, err := tx.Exec(ctx, `SELECT * FROM no_such_table`)
		return err
	}))
	for _, err := range workAll(t, e, runningJobs(t, pool, 8)) {
		if err == nil || !strings.Contains(err.Error(), "no_such_table") {
			t.Errorf("verdict = %v, want the database's", err)
		}
	}
	if s := e.Stats(); s.Transactions != 1 {
		t.Errorf("stats = %+v, want no bisection of what no job is guilty of", s)
	}
}

func TestLoneJobDoesNotLinger(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	options := testOptions()
	options.Linger = time.Minute
	e := New(pool, options, effectKind(writeEffects))
	started := time.Now()
	if err := workAll(t, e, runningJobs(t, pool, 1))[0]; err != nil {
		t.Fatal(err)
	}
	if elapsed := time.Since(started); elapsed > 5*time.Second {
		t.Errorf("a lone job took %v", elapsed)
	}
}

func TestLingerEndsTheWaitForSlowJobs(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	options := testOptions()
	options.Linger = 50 * time.Millisecond
	e := New(pool, options, effectKind(writeEffects))
	e.countExecuting(1) // a job that never gets to the engine
	started := time.Now()
	if err := workAll(t, e, runningJobs(t, pool, 1))[0]; err != nil {
		t.Fatal(err)
	}
	if elapsed := time.Since(started); elapsed < options.Linger || elapsed > 5*time.Second {
		t.Errorf("took %v, want the linger of %v and little more", elapsed, options.Linger)
	}
}

func TestBatchesKeepTheirLimits(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	options := testOptions()
	options.MaxBatch, options.MaxWeight = 40, 100
	var largest, heaviest atomic.Int32
	weigh := func(job *river.Job[effectArgs]) int { return int(job.ID%7) * 5 }
	e := New(pool, options, Kind[effectArgs]{Weigh: weigh, Apply: func(ctx context.Context, tx pgx.Tx, jobs []*river.Job[effectArgs]) error {
		weight := 0
		for i, job := range jobs {
			weight += weigh(job)
			if i > 0 && jobs[i-1].ID >= job.ID {
				t.Error("jobs are not in ascending order")
			}
		}
		largest.Store(max(largest.Load(), int32(len(jobs))))
		heaviest.Store(max(heaviest.Load(), int32(weight)))
		return writeEffects(ctx, tx, jobs)
	}})
	for _, err := range workAll(t, e, runningJobs(t, pool, 300)) {
		if err != nil {
			t.Error(err)
		}
	}
	if largest.Load() > 40 || heaviest.Load() > 100 {
		t.Errorf("largest batch %d, heaviest %d, want at most 40 and 100", largest.Load(), heaviest.Load())
	}
	if e.weight != 0 || len(e.waiting) != 0 || e.committing != 0 || e.committers != 0 {
		t.Errorf("engine is not at rest: weight %d, waiting %d, committing %d, committers %d", e.weight, len(e.waiting), e.committing, e.committers)
	}
}

func TestContextThatEndsBeforeTheTransactionWithdraws(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	options := testOptions()
	options.Committers = 1
	entered, release := make(chan struct{}), make(chan struct{})
	e := New(pool, options, effectKind(func(ctx context.Context, tx pgx.Tx, jobs []*river.Job[effectArgs]) error {
		entered <- struct{}{}
		<-release
		return writeEffects(ctx, tx, jobs)
	}))
	jobs := runningJobs(t, pool, 3)
	verdicts := make(chan error, 3)
	cause := errors.New("the client stops")
	inFlush, cancelInFlush := context.WithCancelCause(t.Context())
	go func() { verdicts <- e.Work(inFlush, jobs[0]) }()
	<-entered

	waiting, cancelWaiting := context.WithCancelCause(t.Context())
	go func() { verdicts <- e.Work(waiting, jobs[1]) }()
	cancelWaiting(cause)
	if err := <-verdicts; !errors.Is(err, cause) {
		t.Errorf("verdict of the waiting job = %v, want its context's cause", err)
	}

	expired, cancelExpired := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancelExpired()
	var snooze *rivertype.JobSnoozeError
	if err := e.Work(expired, jobs[2]); !errors.As(err, &snooze) {
		t.Errorf("verdict of the job that timed out = %v, want a snooze", err)
	}

	cancelInFlush(cause)
	select {
	case err := <-verdicts:
		t.Fatalf("a job in a transaction was abandoned with %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := <-verdicts; err != nil {
		t.Errorf("verdict of the job in the transaction = %v, want nil", err)
	}
	if got := completedJobs(t, pool); got != 1 {
		t.Errorf("completed jobs = %d, want 1", got)
	}
}

func TestContextThatEndsBetweenTriesWithdraws(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	options := testOptions()
	options.RetryFor = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	e := New(pool, options, effectKind(func(context.Context, pgx.Tx, []*river.Job[effectArgs]) error {
		cancel()
		return &pgconn.PgError{Code: "08006"}
	}))
	if err := e.Work(ctx, runningJobs(t, pool, 1)[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("verdict = %v, want context.Canceled", err)
	}
}
