package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
)

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

// TestTwoAttemptsAtOneJob: a process whose job was taken over from it may fetch
// that job again while its old attempt still waits, and both get into one batch.
func TestTwoAttemptsAtOneJob(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	jobs := runningJobs(t, pool, 10)
	earlier := *jobs[4].JobRow
	at := earlier.AttemptedAt.Add(-10 * time.Second)
	earlier.AttemptedAt = &at
	e := New(pool, testOptions(), effectKind(writeEffects))
	for i, err := range workAll(t, e, append(jobs, &river.Job[effectArgs]{JobRow: &earlier})) {
		if i == 10 && !errors.Is(err, ErrTakenOver) {
			t.Errorf("verdict of the old attempt = %v, want ErrTakenOver", err)
		}
		if i < 10 && err != nil {
			t.Errorf("verdict of job %d = %v, want nil", i, err)
		}
	}
	if got := count(t, pool, `SELECT count(*) FROM effects`); got != 10 {
		t.Errorf("%d effects, want one of each job", got)
	}
	if got := completedJobs(t, pool); got != 10 {
		t.Errorf("%d jobs completed, want all 10", got)
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

func TestPatienceWaitsForCompany(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	var patient atomic.Bool
	patient.Store(true)
	options := testOptions()
	options.Linger = time.Millisecond
	options.Patience = func() time.Duration {
		if patient.Load() {
			return time.Minute
		}
		return 0
	}
	e := New(pool, options, effectKind(writeEffects))
	jobs := runningJobs(t, pool, 2)
	var wg sync.WaitGroup
	for _, job := range jobs {
		wg.Go(func() {
			if err := e.Work(t.Context(), job); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(100 * time.Millisecond)
	}
	if got := completedJobs(t, pool); got != 0 {
		t.Errorf("%d jobs did not wait", got)
	}
	patient.Store(false)
	wg.Wait()
	if s := e.Stats(); s.Transactions != 1 {
		t.Errorf("%d transactions, want one for both jobs", s.Transactions)
	}
}

func TestBacklogIsRemembered(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	options := testOptions()
	options.MaxBatch = 10
	e := New(pool, options, effectKind(writeEffects))
	workAll(t, e, runningJobs(t, pool, 9))
	if e.Backlog(time.Minute) {
		t.Error("nine jobs are a backlog, ten fit into a transaction")
	}
	workAll(t, e, runningJobs(t, pool, 30))
	if !e.Backlog(time.Minute) {
		t.Error("thirty jobs are no backlog, ten fit into a transaction")
	}
	time.Sleep(10 * time.Millisecond)
	if e.Backlog(10 * time.Millisecond) {
		t.Error("the backlog is over")
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

// TestBacklogGoesByShards: two transactions under a backlog do not want the same
// locks.
func TestBacklogGoesByShards(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	options := testOptions()
	options.MaxBatch = 100
	var mu sync.Mutex
	var batches [][2]int // how many jobs of each shard
	bothUnderWay := make(chan struct{})
	kind := effectKind(func(ctx context.Context, tx pgx.Tx, jobs []*river.Job[effectArgs]) error {
		var batch [2]int
		for _, job := range jobs {
			batch[job.ID%2]++
		}
		mu.Lock()
		batches = append(batches, batch)
		n := len(batches)
		mu.Unlock()
		if n == 2 {
			close(bothUnderWay)
		}
		select {
		case <-bothUnderWay:
		case <-ctx.Done():
		}
		return writeEffects(ctx, tx, jobs)
	})
	kind.Shard = func(job *river.Job[effectArgs]) int { return int(job.ID % 2) }
	e := New(pool, options, kind)
	for i, err := range workAll(t, e, runningJobs(t, pool, 600)) {
		if err != nil {
			t.Fatalf("verdict of job %d = %v, want nil", i, err)
		}
	}
	first, second := batches[0], batches[1]
	if first[0]*first[1] != 0 || second[0]*second[1] != 0 || (first[0] > 0) == (second[0] > 0) {
		t.Errorf("the first two transactions have %v and %v jobs of the two shards, want one shard each", first, second)
	}
	if len(batches) > 9 {
		t.Errorf("600 jobs took %d transactions of at most 100", len(batches))
	}
}
