package workers

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/dbtest"
	"github.com/trainingmonkey/worker/jobs"
)

// TestCrashAtEveryStatement loses the connection of the engines once at every
// statement, before and after the server executed it, with and without tries
// left. A service that nothing happens to then drains what is in the queues. It
// must leave what an undisturbed run leaves, at no job's cost.
func TestCrashAtEveryStatement(t *testing.T) {
	t.Parallel()
	for name, enqueueAll := range map[string]func(*testing.T, *dbpool.Pool) crashJobs{
		"ingest": func(t *testing.T, pool *dbpool.Pool) crashJobs {
			t.Helper()
			return crashJobs{ingest: enqueueRunning(t, pool,
				[]jobs.Activity{run(10, 1, "2025-01-05", 4, 40), run(11, 2, "2025-01-05", 4, 40)},
				[]jobs.Activity{run(1, 1, "2025-01-01", 9, 90)},                                 // changed
				[]jobs.Activity{run(2, 1, "2025-03-01", 2, 20)},                                 // moved
				[]jobs.Activity{deletion(3, 2, "2025-01-03"), run(12, 2, "2025-01-06", 1, 10)},  // deleted
				[]jobs.Activity{run(4, 1, "2025-01-04", 7, 70), run(13, 1, "2025-01-07", 3, 1)}, // rejected: of another user
				[]jobs.Activity{run(10, 1, "2025-01-08", 5, 50)},                                // moved before anybody saw it
			)}
		},
		"salvage": func(t *testing.T, pool *dbpool.Pool) crashJobs {
			t.Helper()
			return crashJobs{ingest: enqueueRunning(t, pool,
				[]jobs.Activity{run(10, 1, "2025-01-05", 4, 40), run(11, 1, "2025-01-06", 666, 40)},
				[]jobs.Activity{run(1, 1, "2025-01-01", 9, 90)},
			)}
		},
		"recalc": func(t *testing.T, pool *dbpool.Pool) crashJobs {
			t.Helper()
			execute(t, pool, `UPDATE activities SET total_load_miles = total_load_miles + 1, acute_chronic_ratio = NULL`)
			return crashJobs{recalc: recalcRunning(t, pool, 1, 2)}
		},
	} {
		for _, after := range []bool{false, true} {
			for _, retryFor := range []time.Duration{0, time.Minute} {
				if name == "salvage" && after == (retryFor > 0) {
					continue // many statements: each of the two settings with one of the other's
				}
				t.Run(fmt.Sprintf("%s, after %t, tries %v", name, after, retryFor), func(t *testing.T) {
					t.Parallel()
					r := newCrashRig(t)
					want := r.outcome(enqueueAll, retryFor, &crashDB{Beginner: r.pool})
					for at := 1; ; at++ {
						db := &crashDB{Beginner: r.pool, at: at, after: after}
						got := r.outcome(enqueueAll, retryFor, db)
						if got != want {
							t.Errorf("connection lost at statement %d: %s\nundisturbed: %s", at, got, want)
						}
						if !db.broken() {
							if at < 6 {
								t.Errorf("only %d statements", at-1)
							}
							return
						}
					}
				})
			}
		}
	}
}

// crashRig runs the same jobs again and again over one database, beside a
// service that nothing happens to.
type crashRig struct {
	t    *testing.T
	pool *dbpool.Pool
}

func newCrashRig(t *testing.T) *crashRig {
	t.Helper()
	pool := dbtest.Migrated(t)
	execute(t, pool, `ALTER TABLE activities ADD CONSTRAINT planted CHECK (total_load_miles <> 666)`)
	enqueue(t, pool, []jobs.Activity{
		run(1, 1, "2025-01-01", 1, 10), run(2, 1, "2025-01-02", 2, 20), run(3, 2, "2025-01-03", 3, 30),
		run(4, 2, "2025-01-04", 4, 40), run(5, 1, "2025-01-20", 5, 50), run(6, 2, "2025-01-20", 6, 60),
	})
	s, err := New(t.Context(), pool, config.Default(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	r := &crashRig{t, pool}
	r.waitForQuiet()
	execute(t, pool, `CREATE TABLE activities_before AS SELECT * FROM activities`)
	return r
}

// crashJobs are jobs that a process has fetched.
type crashJobs struct {
	ingest []*river.Job[ingestArgs]
	recalc []*river.Job[recalcArgs]
}

// outcome lets the jobs be worked over db and, what is left of them, by the
// other service, and describes what there is after that.
func (r *crashRig) outcome(enqueueAll func(*testing.T, *dbpool.Pool) crashJobs, retryFor time.Duration, db *crashDB) string {
	r.t.Helper()
	for _, table := range []string{"activities", "ingest_rejects", "ingest_versions", "river.river_job"} {
		execute(r.t, r.pool, `DELETE FROM `+table)
	}
	execute(r.t, r.pool, `INSERT INTO activities SELECT * FROM activities_before`)
	fetched := enqueueAll(r.t, r.pool)
	c := config.Default()
	c.Batching.RetryFor, c.Batching.SnoozeFor = retryFor, time.Millisecond
	s, err := newOver(r.t.Context(), r.pool, db, c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	var wg sync.WaitGroup
	workAll(r.t, &wg, s.ingest, fetched.ingest)
	workAll(r.t, &wg, s.recalc, fetched.recalc)
	wg.Wait()
	if stats := s.Stats(); stats.Ingest.TakenOver+stats.Recalc.TakenOver > 0 {
		r.t.Errorf("stats = %+v: a job that this process committed was taken for another's", stats)
	}
	r.waitForQuiet()
	checkOracle(r.t, r.pool)
	return query[string](r.t, r.pool, `
		SELECT concat_ws(E'\n', 
			(SELECT string_agg((to_jsonb(a) - 'ingest_job_id')::text, E'\n' ORDER BY activity_id) FROM activities AS a),
			(SELECT string_agg(concat_ws(' ', 'reject', activity_id, user_id, payload, reason), E'\n' ORDER BY activity_id) FROM ingest_rejects),
			(SELECT string_agg(DISTINCT concat_ws(' ', 'some', kind, state, 'attempt', attempt, errors::text), E'\n') FROM river.river_job))`)
}

// waitForQuiet waits until no job is left to do. It wakes the service, for nobody
// does when a job was snoozed.
func (r *crashRig) waitForQuiet() {
	r.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		if query[int](r.t, r.pool, `SELECT count(*) FROM river.river_job WHERE finalized_at IS NULL`) == 0 {
			return
		}
		execute(r.t, r.pool, `SELECT pg_notify('river.river_insert', json_build_object('queue', queue)::text) FROM unnest($1::text[]) AS queue`, []string{jobs.QueueIngest, jobs.QueueRecalc})
		if time.Now().After(deadline) {
			r.t.Fatalf("left: %s", query[string](r.t, r.pool, `SELECT string_agg(job::text, E'\n') FROM river.river_job AS job WHERE finalized_at IS NULL`))
		}
	}
}

// workAll lets a worker do all jobs at once as River does, and fails the test
// when its verdict lets River write anything.
func workAll[T river.JobArgs](t *testing.T, wg *sync.WaitGroup, w river.Worker[T], fetched []*river.Job[T]) {
	t.Helper()
	for _, job := range fetched {
		wg.Go(func() {
			err := w.Middleware(job.JobRow)[0].Work(t.Context(), job.JobRow, func(ctx context.Context) error { return w.Work(ctx, job) })
			silent, ok := err.(interface { // River asserts on the error as it is
				Jobs() []*rivertype.JobRow
				ErrorsByID() map[int64]error
			})
			if err != nil && (!ok || len(silent.Jobs()) > 0) {
				t.Errorf("verdict of job %d = %v, want nil or one of which River writes nothing", job.ID, err)
			}
		})
	}
}

// enqueueRunning inserts jobs as ones that this process has fetched already.
func enqueueRunning(t *testing.T, pool *dbpool.Pool, groups ...[]jobs.Activity) []*river.Job[ingestArgs] {
	t.Helper()
	var fetched []*river.Job[ingestArgs]
	for _, group := range groups {
		fetched = append(fetched, fetchedJob[ingestArgs](t, pool, jobs.ActivityIngest{Activities: group}, jobs.QueueIngest))
	}
	return fetched
}

func recalcRunning(t *testing.T, pool *dbpool.Pool, users ...int32) []*river.Job[recalcArgs] {
	t.Helper()
	var fetched []*river.Job[recalcArgs]
	for _, user := range users {
		args := jobs.ACWRRecalc{Ranges: []jobs.DateRange{{UserID: user, From: "2025-01-01", To: "2025-02-01"}}}
		fetched = append(fetched, fetchedJob[recalcArgs](t, pool, args, jobs.QueueRecalc))
	}
	return fetched
}

func fetchedJob[T river.JobArgs](t *testing.T, pool *dbpool.Pool, args river.JobArgs, queue string) *river.Job[T] {
	t.Helper()
	data, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	job := &river.Job[T]{JobRow: &rivertype.JobRow{Kind: args.Kind(), Queue: queue, Attempt: 1, MaxAttempts: 25, AttemptedAt: new(time.Time)}}
	err = pool.QueryRow(t.Context(), `
		INSERT INTO river.river_job (kind, queue, args, state, attempt, attempted_at, attempted_by, max_attempts)
		VALUES ($1, $2, $3, 'running', 1, clock_timestamp(), '{crashing}', 25) RETURNING id, attempted_at`,
		job.Kind, queue, data).Scan(&job.ID, job.AttemptedAt)
	if err == nil {
		err = json.Unmarshal(data, &job.Args)
	}
	if err != nil {
		t.Fatal(err)
	}
	return job
}
