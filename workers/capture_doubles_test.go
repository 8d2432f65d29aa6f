package workers

import (
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestDoublesOfCapturedChanges: another program changes columns by which doubles are
// recognized.
func TestDoublesOfCapturedChanges(t *testing.T) {
	t.Parallel()
	pool := captured(t)
	execute(t, pool, ignoring)
	enqueue(t, pool, []jobs.Activity{recorded(10, 1, "2025-02-01", 5), recorded(20, 1, "2025-02-01", 6), recorded(40, 2, "2025-02-01", 5), recorded(50, 2, "2025-02-01", 6)})
	drain(t, pool)
	for _, c := range []struct {
		statement, want string
		jobs            int
	}{
		{`UPDATE activities SET start_time = '18:00:00' WHERE activity_id IN (20, 50)`, "10 11.00, 20 11.00", 1},
		{`UPDATE activities SET start_time = '07:00:00' WHERE activity_id IN (20, 50)`, "10 5.00, 20 5.00", 1},
		{`UPDATE activities SET start_time = '18:00:00' WHERE activity_id = 50`, "10 5.00, 20 5.00", 0},
		{`UPDATE activities SET name = 'x', notes = 'y', avg_heart_rate = 150`, "10 5.00, 20 5.00", 0},
		{`UPDATE activities SET distance_miles = 9 WHERE activity_id = 10`, "10 11.00, 20 11.00", 1},
		{`UPDATE activities SET distance_miles = 6 WHERE activity_id = 10`, "10 5.00, 20 5.00", 1},
		{`UPDATE activities SET duration_minutes = 90 WHERE activity_id = 10`, "10 11.00, 20 11.00", 1},
		{`UPDATE activities SET duration_minutes = 60, sport_type = NULL, type = NULL WHERE activity_id = 10`, "10 11.00, 20 11.00", 1},
		{`UPDATE activities SET type = 'Run' WHERE activity_id = 10`, "10 5.00, 20 5.00", 1},
		{`UPDATE activities SET total_load_miles = 0, trimp = NULL WHERE activity_id = 10`, "10 0.00, 20 0.00", 1},
		{`DELETE FROM activities WHERE activity_id = 10`, "20 6.00", 1},
		{`UPDATE activities SET activity_id = 60 WHERE activity_id = 20`, "60 6.00", 1},
	} {
		before := query[int](t, pool, countJobs)
		execute(t, pool, c.statement)
		if got := query[int](t, pool, countJobs) - before; got != c.jobs {
			t.Errorf("%s enqueued %d jobs, want %d", c.statement, got, c.jobs)
		}
		drain(t, pool)
		if got := query[string](t, pool, loads); got != c.want {
			t.Errorf("after %s the week's loads are %s, want %s", c.statement, got, c.want)
		}
	}
	checkWeighed(t, pool)
}

// TestMigratingRenewsCapture: an older version's triggers ignore doubles until they are
// replaced.
func TestMigratingRenewsCapture(t *testing.T) {
	t.Parallel()
	pool := captured(t)
	execute(t, pool, `CREATE OR REPLACE FUNCTION river.capture_changed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
		DELETE FROM worker_migrations WHERE version_id >= 19`)
	if steps, err := migrations.Plan(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil || len(steps) < 2 || steps[len(steps)-1] != migrations.CaptureStep || !strings.Contains(steps[0].Does, "add to acwr_settings, without rewriting it: doubles text") {
		t.Errorf("the plan is %+v, %v, want the migration and the renewal of the triggers", steps, err)
	}
	if _, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date) VALUES (1, 1, '2025-02-01')`)
	before := query[int](t, pool, countJobs)
	execute(t, pool, `UPDATE activities SET total_load_miles = 5`)
	if got := query[int](t, pool, countJobs) - before; got != 1 {
		t.Errorf("a changed load enqueued %d jobs after migrating, want 1", got)
	}

	if err := migrations.DropCapture(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	execute(t, pool, `DELETE FROM worker_migrations WHERE version_id >= 19`)
	if _, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	if n := query[int](t, pool, `SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'acwr_capture%'`); n > 0 {
		t.Errorf("migrating installed %d triggers although capture was off", n)
	}
}
