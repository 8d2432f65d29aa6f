package workers

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// captured returns a migrated database with change capture.
func captured(t testing.TB) *dbpool.Pool {
	t.Helper()
	pool := dbtest.Migrated(t)
	for range 2 { // the second time changes nothing
		if err := migrations.CaptureChanges(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
			t.Fatal(err)
		}
	}
	return pool
}

const countJobs = `SELECT count(*) FROM river.river_job`

// randomStatement is what a program that does not know the worker may send.
func randomStatement(r *rand.Rand, n int) string {
	where := []string{
		fmt.Sprintf(`user_id = %d`, r.IntN(8)+1),
		fmt.Sprintf(`date = date '2024-01-01' + %d`, r.IntN(60)),
		fmt.Sprintf(`activity_id %% 7 = %d`, r.IntN(7)),
		fmt.Sprintf(`user_id = %d AND date > date '2024-01-01' + %d`, r.IntN(8)+1, r.IntN(60)),
	}[r.IntN(4)]
	switch r.IntN(8) {
	case 0, 1:
		return fmt.Sprintf(`INSERT INTO activities (activity_id, user_id, date, total_load_miles, trimp)
			SELECT %d + i, 1 + (i * %d) %% 8, date '2024-01-01' + (i * %d) %% 60, nullif(i %% 9, 4), (i * 7) %% 90 FROM generate_series(1, %d) AS i`,
			n*1000, r.IntN(8)+1, r.IntN(60)+1, r.IntN(12)+1)
	case 2:
		return fmt.Sprintf(`UPDATE activities SET total_load_miles = %d / 4.0, notes = 'edited' WHERE %s`, r.IntN(80), where)
	case 3:
		return fmt.Sprintf(`UPDATE activities SET trimp = nullif(%d, 3) WHERE %s`, r.IntN(6), where)
	case 4:
		return fmt.Sprintf(`UPDATE activities SET user_id = 1 + (user_id + %d) %% 8 WHERE %s`, r.IntN(8), where)
	case 5:
		return fmt.Sprintf(`UPDATE activities SET date = date + %d WHERE %s`, r.IntN(9)-4, where)
	case 6:
		return fmt.Sprintf(`DELETE FROM activities WHERE activity_id %% 5 = %d AND %s`, r.IntN(5), where)
	default:
		return fmt.Sprintf(`UPDATE activities SET activity_id = -activity_id WHERE %s`, where)
	}
}

// TestAnybodysChangesAreCaptured runs 500 statements of a plain client beside a worker;
// none fails, and in the end every row is correct.
func TestAnybodysChangesAreCaptured(t *testing.T) {
	t.Parallel()
	pool := captured(t)
	ctx, stop := context.WithCancel(t.Context())
	worked := make(chan error, 1)
	s := newService(t, pool, config.Default())
	go func() { worked <- s.Run(ctx) }()
	r := rand.New(rand.NewPCG(7, 500))
	for n := 1; n <= 500; n++ {
		execute(t, pool, randomStatement(r, n))
	}
	stop()
	if err := <-worked; err != nil {
		t.Error(err)
	}
	drain(t, pool)
	checkOracle(t, pool)
	if n := query[int](t, pool, `SELECT count(*) FROM activities`); n < 100 {
		t.Errorf("only %d activities are there to check", n)
	}
	if n := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE state <> 'completed' OR attempt <> 1`); n > 0 {
		t.Errorf("%d jobs spent an attempt", n)
	}
}

// TestOneJobForAStatement: and none for a statement after which every result still holds.
func TestOneJobForAStatement(t *testing.T) {
	t.Parallel()
	pool := captured(t)
	for _, c := range []struct {
		statement string
		jobs      int
	}{
		{`INSERT INTO activities (activity_id, user_id, date, total_load_miles) SELECT i, i % 50 + 1, date '2024-01-01' + i, 5 FROM generate_series(1, 300) AS i`, 1},
		{`UPDATE activities SET total_load_miles = 6, date = date + 100 WHERE user_id < 9`, 1},
		{`UPDATE activities SET total_load_miles = total_load_miles, trimp = 0, perceived_effort = 5, notes = 'x'`, 0},
		{`UPDATE activities SET acute_chronic_ratio = 9, seven_day_avg_load = 1`, 0},
		{`UPDATE activities SET total_load_miles = 1 WHERE false`, 0},
		{`INSERT INTO activities (activity_id, user_id, date) VALUES (-1, 7, '2024-02-01')`, 1},
		{`DELETE FROM activities WHERE activity_id = -1`, 0},
		{`DELETE FROM activities WHERE activity_id IN (1, 2)`, 1},
		{`BEGIN; DELETE FROM activities; ROLLBACK`, 0},
	} {
		before := query[int](t, pool, countJobs)
		execute(t, pool, c.statement)
		if got := query[int](t, pool, countJobs) - before; got != c.jobs {
			t.Errorf("%s enqueued %d jobs, want %d", c.statement, got, c.jobs)
		}
	}
	drain(t, pool)
	before := query[int](t, pool, countJobs)
	enqueue(t, pool, []jobs.Activity{run(9001, 3, "2024-03-01", 5, 50), deletion(7, 8, "2024-01-08")})
	drain(t, pool)
	if got := query[int](t, pool, countJobs) - before; got != 1 {
		t.Errorf("an ingest job and its consequences are %d jobs, want 1: the worker's own writes are not captured", got)
	}
	checkOracle(t, pool)

	if err := migrations.DropCapture(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	before = query[int](t, pool, countJobs)
	execute(t, pool, `UPDATE activities SET total_load_miles = 2`)
	if got := query[int](t, pool, countJobs) - before; got != 0 {
		t.Errorf("%d jobs were enqueued after capturing stopped", got)
	}
}

// BenchmarkCaptureCost measures one statement over 1,000 rows with and without capture.
func BenchmarkCaptureCost(b *testing.B) {
	for _, with := range []bool{false, true} {
		b.Run(fmt.Sprintf("captured=%v", with), func(b *testing.B) {
			pool := dbtest.Migrated(b)
			if with {
				pool = captured(b)
			}
			ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
			defer cancel()
			if _, err := pool.Exec(ctx, `INSERT INTO activities (activity_id, user_id, date, total_load_miles)
				SELECT i, i % 50 + 1, date '2024-01-01' + i / 50, 5 FROM generate_series(1, 1000) AS i`); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := pool.Exec(ctx, `UPDATE activities SET total_load_miles = total_load_miles + 1`); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
