package workers

import (
	"testing"

	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestRestDaysReplaced: an activity removes its athlete's placeholder of its date and
// no other row, even a placeholder stored long ago when the activity is synced again.
func TestRestDaysReplaced(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, name, type, total_load_miles, trimp) VALUES
		(-739522007, 7, '2025-09-28', 'Rest Day', 'rest', 0, 0),
		(-739523007, 7, '2025-09-29', 'Rest Day', 'rest', 0, 0),
		(-739522008, 8, '2025-09-28', 'Rest Day', 'rest', 0, 0),
		(-739524007, 7, '2025-09-30', 'Rest Day', 'rest', 3, 0),
		(30, 7, '2025-09-30', 'Run', 'Run', 4, 40)`)
	synced := []jobs.Activity{run(28, 7, "2025-09-28", 5, 50), run(30, 7, "2025-09-30", 4, 40)}
	enqueue(t, pool, synced)
	drain(t, pool)
	const want = "-739523007 7 2025-09-29 0; -739522008 8 2025-09-28 0; 28 7 2025-09-28 5; 30 7 2025-09-30 4"
	if got := rows(t, pool); got != want {
		t.Errorf("rows: %s, want %s", got, want)
	}
	// The placeholder of the 30th had a load of 3, which its week no longer counts.
	if got := query[float32](t, pool, `SELECT seven_day_avg_load FROM activities WHERE activity_id = 30`); got != float32(9.0/7) {
		t.Errorf("seven days' mean on the 30th = %v, want %v", got, float32(9.0/7))
	}
	execute(t, pool, `SELECT river.enqueue_acwr_recalc(8, '2025-09-28', '2025-09-28')`)
	drain(t, pool)
	checkOracle(t, pool)
}
