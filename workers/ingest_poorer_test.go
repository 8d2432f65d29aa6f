package workers

import (
	"testing"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// tokyo is a morning run in Tokyo as the application stores it: with the device,
// heart-rate zones and the TRIMP of the heart-rate stream.
func tokyo() jobs.Activity {
	a := run(1, 7, "2025-09-29", 6.2, 91.5)
	a.StartTime, a.DeviceName, a.TimeInZone2, a.TrimpCalculationMethod = ptr("08:00:00"), ptr("Forerunner"), ptr(1800.), ptr("stream")
	a.AvgHeartRate, a.ElevationGainFeet = ptr(150.), ptr(100.)
	return a
}

// archived is the same run in the bulk export: in UTC, converted to the athlete's home
// time zone, where it is the day before.
func archived() jobs.Activity {
	a := run(1, 7, "2025-09-28", 6.3, 80)
	a.Partial, a.DayFromUTC, a.StartTime, a.TrimpCalculationMethod = true, true, ptr("16:00:00"), ptr("average")
	a.Name, a.AvgHeartRate, a.ElevationGainFeet = ptr("Corrected"), ptr(150.), ptr(100.)
	return a
}

const richRow = `SELECT concat_ws(' ', date, start_time, name, device_name, time_in_zone2, total_load_miles, trimp, trimp_calculation_method, ingest_day_from_utc) FROM activities`

// TestArchiveAfterSync: the row gets the better value of each column, in either order
// of the jobs.
func TestArchiveAfterSync(t *testing.T) {
	t.Parallel()
	const want = "2025-09-29 08:00:00 Corrected Forerunner 1800 6.3 91.5 stream"
	for name, inOrder := range map[string]bool{"in order": true, "the archive first": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := dbtest.Migrated(t)
			ids := enqueue(t, pool, []jobs.Activity{tokyo()}, []jobs.Activity{archived()})
			if !inOrder {
				execute(t, pool, `UPDATE river.river_job SET state = 'scheduled', scheduled_at = now() + interval '1 day' WHERE id = $1`, ids[0])
				drain(t, pool)
				if got, want := query[string](t, pool, richRow), "2025-09-28 16:00:00 Corrected 6.3 80 average t"; got != want {
					t.Errorf("the archive alone gives %s, want %s", got, want)
				}
				execute(t, pool, `UPDATE river.river_job SET state = 'available', scheduled_at = now() WHERE id = $1`, ids[0])
			}
			drain(t, pool)
			if got := query[string](t, pool, richRow); got != want {
				t.Errorf("the row is %s, want %s", got, want)
			}
			checkOracle(t, pool)
			// The same archive a second time changes nothing.
			before := query[string](t, pool, `SELECT xmin || ' ' || ctid FROM activities`)
			enqueue(t, pool, []jobs.Activity{archived()})
			drain(t, pool)
			if after := query[string](t, pool, `SELECT xmin || ' ' || ctid FROM activities`); after != before {
				t.Error("the same archive again wrote the row")
			}
		})
	}
}

// TestNullOfTheApplicationClears: the application states every column of an activity,
// so a missing one is NULL.
func TestNullOfTheApplicationClears(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	enqueue(t, pool, []jobs.Activity{tokyo()})
	drain(t, pool)
	execute(t, pool, `SELECT river.enqueue_activity_ingest('[{"activity_id": 1, "user_id": 7, "date": "2025-09-29", "name": "Run", "total_load_miles": 6.2, "trimp": 91.5, "device_name": null}]')`)
	drain(t, pool)
	if got, want := query[string](t, pool, richRow), "2025-09-29 Run 6.2 91.5"; got != want {
		t.Errorf("the row is %s, want %s", got, want)
	}
}

// TestWrongZoneIsCorrected: a day computed from UTC replaces another day computed from UTC.
func TestWrongZoneIsCorrected(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	corrected := archived()
	corrected.Date, corrected.StartTime = "2025-09-29", ptr("01:00:00")
	for _, a := range []jobs.Activity{archived(), corrected} {
		enqueue(t, pool, []jobs.Activity{a})
		drain(t, pool)
	}
	if got, want := query[string](t, pool, `SELECT concat_ws(' ', date, start_time) FROM activities`), "2025-09-29 01:00:00"; got != want {
		t.Errorf("the row is of %s, want %s", got, want)
	}
	checkOracle(t, pool)
}

// TestRetypedActivityLosesItsLoad: a run becomes yoga. A person's notes stay, and yoga
// that was never stored is not inserted.
func TestRetypedActivityLosesItsLoad(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	yoga := func(id int64) jobs.Activity {
		return jobs.Activity{ActivityID: id, UserID: 7, Date: "2025-09-29", Type: ptr("Yoga"), Unloaded: true}
	}
	enqueue(t, pool, []jobs.Activity{tokyo(), run(2, 7, "2025-09-30", 5, 50)})
	drain(t, pool)
	execute(t, pool, `UPDATE activities SET notes = 'sore'`)
	enqueue(t, pool, []jobs.Activity{yoga(1), yoga(3)})
	drain(t, pool)
	retyped := func(t *testing.T, pool *dbpool.Pool, want string) {
		t.Helper()
		if got := query[string](t, pool, `SELECT string_agg(concat_ws(' ', activity_id, type, notes, total_load_miles, trimp, seven_day_avg_load), '; ' ORDER BY activity_id) FROM activities`); got != want {
			t.Errorf("rows are %s, want %s", got, want)
		}
		checkOracle(t, pool)
	}
	retyped(t, pool, "1 Yoga sore 0 0 0; 2 Run sore 5 50 0.71428573")
	// It becomes a run again.
	enqueue(t, pool, []jobs.Activity{tokyo()})
	drain(t, pool)
	retyped(t, pool, "1 Run sore 6.2 91.5 0.88571423; 2 Run sore 5 50 1.6")
}
