package workers

import (
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// averaged is a run with an average heart rate and a TRIMP by the given method.
func averaged(id int64, user int32, date string, minutes, heartRate, trimp float64, method string) jobs.Activity {
	a := run(id, user, date, 5, trimp)
	a.DurationMinutes, a.AvgHeartRate = &minutes, &heartRate
	if method != "" {
		a.TrimpCalculationMethod = &method
	}
	return a
}

func recompute(t *testing.T, pool *dbpool.Pool, user int32, h trainingload.HeartRate) TRIMPs {
	t.Helper()
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	found, err := RecomputeTRIMPs(t.Context(), pool, enqueuer, user, nil, nil, h)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

const trimpsQuery = `SELECT string_agg(concat_ws(' ', activity_id, trimp), '; ' ORDER BY activity_id) FROM activities`

// TestTRIMPsAreRecomputed expects values of the published formula, worked out by hand,
// and that better TRIMPs and other users' stay unchanged.
func TestTRIMPsAreRecomputed(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	noHeartRate := run(5, 7, "2025-03-05", 5, 33)
	noHeartRate.TrimpCalculationMethod = ptr("average")
	enqueue(t, pool, []jobs.Activity{
		averaged(1, 7, "2025-03-01", 60, 150, 99, "average"),
		averaged(2, 7, "2025-03-20", 60, 200, 98, "average"), // above the maximum
		averaged(3, 7, "2025-03-03", 60, 150, 97, "stream"),
		averaged(4, 7, "2025-03-04", 60, 150, 96, ""),
		noHeartRate,
		averaged(6, 7, "2025-03-06", 45, 140, 78.11, "average"),
		averaged(7, 8, "2025-03-01", 60, 150, 95, "average"),
		run(8, 7, "2025-03-28", 5, 0),
		run(9, 7, "2025-03-29", 5, 0),
	})
	drain(t, pool)
	male := trainingload.HeartRate{Resting: 50, Max: 180, Gender: trainingload.Male}
	before := query[string](t, pool, `SELECT string_agg(a::text, ' ') FROM activities AS a`)
	preview, err := PreviewTRIMPs(t.Context(), pool, 7, nil, nil, male)
	if err != nil {
		t.Fatal(err)
	}
	if after := query[string](t, pool, `SELECT string_agg(a::text, ' ') FROM activities AS a`); after != before {
		t.Error("the preview changed rows")
	}
	if preview.Averages != 4 || preview.Unusable != 1 || preview.Changed != 3 || len(preview.Examples) != 3 || preview.Examples[0].Was != 99 || preview.Examples[0].TRIMP != 129.36 {
		t.Errorf("preview %+v", preview)
	}
	found := recompute(t, pool, 7, male)
	if found.Changed != 3 || len(found.JobIDs) != 1 {
		t.Errorf("recomputed %+v", found)
	}
	const want = "1 129.36; 2 261.92; 3 97; 4 96; 5 33; 6 75.33; 7 95; 8 0; 9 0"
	if got := query[string](t, pool, trimpsQuery); got != want {
		t.Errorf("TRIMPs %s, want %s", got, want)
	}
	drain(t, pool)
	checkOracle(t, pool)
	if got := query[float64](t, pool, `SELECT round(twentyeight_day_avg_trimp::numeric * 28, 2)::float8 FROM activities WHERE activity_id = 8`); got < 600 {
		t.Errorf("the results of the 27th day after include a TRIMP sum of %v", got)
	}
	if again := recompute(t, pool, 7, male); again.Changed != 0 || len(again.JobIDs) != 0 {
		t.Errorf("a second time %+v", again)
	}
	from, to := time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2025, 3, 5, 0, 0, 0, 0, time.UTC)
	female := male
	female.Gender = trainingload.Female
	some, err := PreviewTRIMPs(t.Context(), pool, 7, &from, &to, female)
	if err != nil || some.Changed != 1 || some.Examples[0].TRIMP != 106.73 {
		t.Errorf("five days, for a woman: %+v, %v", some, err)
	}
}

// TestRoundedDurationsChangeNothing: an import computes before it rounds, so the stored
// duration gives a slightly different TRIMP.
func TestRoundedDurationsChangeNothing(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	var activities []jobs.Activity
	for i := range 200 {
		seconds := float64(971 + 37*i)
		trimp := trainingload.TRIMP(seconds/60, 165.57888793945312, trainingload.DefaultHeartRate)
		activities = append(activities, averaged(int64(i+1), 7, "2025-03-01", trainingload.Round(seconds/60), 165.57888793945312, trimp, "average"))
	}
	enqueue(t, pool, activities)
	drain(t, pool)
	if found := recompute(t, pool, 7, trainingload.DefaultHeartRate); found.Averages != 200 || found.Changed != 0 {
		t.Errorf("under the same heart rates %+v", found)
	}
}

// TestRecomputedTRIMPsAndVersions: an older version that arrives late does not restore
// the old TRIMP, and a newer one brings its own.
func TestRecomputedTRIMPsAndVersions(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	h := trainingload.HeartRate{Resting: 50, Max: 180, Gender: trainingload.Male}
	partial := func(id int64) jobs.Activity {
		a := averaged(id, 7, "2025-03-01", 60, 150, 99, "average")
		a.Partial = true
		return a
	}
	untimed := partial(2) // has no TRIMP: that of the whole version stays
	untimed.Trimp, untimed.TrimpCalculationMethod = nil, nil
	enqueue(t, pool, []jobs.Activity{averaged(2, 7, "2025-03-01", 60, 150, 98, "average")})
	drain(t, pool)
	late := enqueue(t, pool, []jobs.Activity{averaged(1, 7, "2025-03-01", 60, 150, 97, "average"), averaged(3, 7, "2025-03-01", 60, 150, 97, "average")})
	lateRename := partial(2)
	lateRename.Trimp, lateRename.TrimpCalculationMethod, lateRename.Name = nil, nil, ptr("Renamed")
	late = append(late, enqueue(t, pool, []jobs.Activity{lateRename})...)
	execute(t, pool, `UPDATE river.river_job SET state = 'retryable', scheduled_at = now() + interval '1 hour' WHERE id = ANY($1)`, late)
	whole := averaged(3, 7, "2025-03-01", 60, 150, 99, "average")
	enqueue(t, pool, []jobs.Activity{partial(1), untimed, whole})
	drain(t, pool)
	if got := query[int](t, pool, `SELECT count(*) FROM ingest_versions WHERE layers IS NOT NULL`); got != 1 {
		t.Fatalf("%d versions with layers, want 1: the row of activity 1 has it", got)
	}
	recompute(t, pool, 7, h)
	execute(t, pool, `UPDATE river.river_job SET state = 'available', scheduled_at = now() WHERE id = ANY($1)`, late)
	drain(t, pool)
	if got := query[string](t, pool, trimpsQuery); got != "1 129.36; 2 129.36; 3 129.36" {
		t.Errorf("after older versions: TRIMPs %s, want 129.36", got)
	}
	checkOracle(t, pool)
	enqueue(t, pool, []jobs.Activity{partial(1), averaged(2, 7, "2025-03-01", 60, 150, 95, "stream")})
	drain(t, pool)
	if got := query[string](t, pool, trimpsQuery); got != "1 99; 2 95; 3 129.36" {
		t.Errorf("after newer versions: TRIMPs %s", got)
	}
	checkOracle(t, pool)
}

// TestTRIMPsBesideIngest recomputes while workers ingest.
func TestTRIMPsBesideIngest(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	h := trainingload.HeartRate{Resting: 50, Max: 180, Gender: trainingload.Male}
	const total = 1200
	for i := range total {
		date := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, i/3).Format(time.DateOnly)
		enqueue(t, pool, []jobs.Activity{averaged(int64(i+1), 7, date, 60, 150, 99, "average")})
	}
	s := newService(t, pool, config.Default())
	stop := startWorking(t, s)
	for deadline := time.Now().Add(time.Minute); query[int](t, pool, `SELECT count(*) FROM activities`) < total; {
		recompute(t, pool, 7, h)
		if time.Now().After(deadline) {
			t.Fatal("not all activities were stored within a minute")
		}
	}
	recompute(t, pool, 7, h)
	await(t, pool, noJobsAreLeft)
	stop()
	if got := query[int](t, pool, `SELECT count(*) FROM activities WHERE trimp = 129.36::real`); got != total {
		t.Errorf("%d of %d activities have the new TRIMP", got, total)
	}
	checkOracle(t, pool)
}
