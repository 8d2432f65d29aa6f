package workers

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// recalcAllUsers enqueues the recalculation of each user by the SQL function.
func recalcAllUsers(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	execute(t, pool, `SELECT river.enqueue_acwr_recalc(user_id, min(date), max(date)) FROM activities GROUP BY user_id`)
}

// TestShadowWritesNothing: jobs are worked, but no row is written.
func TestShadowWritesNothing(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	history(t, pool, 20, 100)
	before := query[string](t, pool, versions)
	recalcAllUsers(t, pool)
	newBackfills(t, pool).create(backfill.Scope{})
	shadow := config.Default()
	shadow.ACWR.Write = "compare"
	drainWith(t, pool, shadow)
	if query[string](t, pool, versions) != before {
		t.Error("rows were written")
	}
	if n := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE state <> 'completed'`); n > 0 {
		t.Errorf("%d jobs were not worked", n)
	}
	if n := query[int](t, pool, `SELECT sum(rows_changed) FROM acwr_backfill_chunks`); n > 0 {
		t.Errorf("the backfill says that it changed %d rows", n)
	}
}

// TestShareOfUsers: exactly the results of the share's users are written, and a larger
// share includes the smaller.
func TestShareOfUsers(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	const users = 60
	history(t, pool, users, 100)
	for _, percent := range []int{0, 30, 80, 100} {
		var want []int32
		for user := int32(1); user <= users; user++ {
			if config.InRollout(int64(user), percent) {
				want = append(want, user)
			}
		}
		recalcAllUsers(t, pool)
		share := config.Default()
		share.ACWR.RolloutPercent = percent
		drainWith(t, pool, share)
		got := query[[]int32](t, pool, `SELECT array_agg(DISTINCT user_id ORDER BY user_id) FROM activities WHERE acute_chronic_ratio IS NOT NULL`)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("users with results at %d percent (-want +got):\n%s", percent, diff)
		}
		if n := query[int](t, pool, `SELECT count(*) FROM activities WHERE acute_chronic_ratio IS NULL AND user_id = ANY($1)`, want); n > 0 {
			t.Errorf("%d rows of users at %d percent were left out", n, percent)
		}
	}
	checkOracle(t, pool)
}

// TestSwitchedOffJobsWait: activities are stored; recalculations wait, and are worked
// once results are written again.
func TestSwitchedOffJobsWait(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	enqueue(t, pool, []jobs.Activity{run(1, 7, "2024-01-01", 5, 50)})
	off := config.Default()
	off.ACWR.Write = "off"
	drainWith(t, pool, off)
	if got, want := rows(t, pool), "1 7 2024-01-01 5"; got != want {
		t.Errorf("stored: %s, want %s", got, want)
	}
	if n := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE kind = 'acwr_recalc' AND state = 'available' AND attempt = 0`); n != 1 {
		t.Errorf("%d recalculations wait, want 1", n)
	}
	drain(t, pool)
	checkOracle(t, pool)
}
