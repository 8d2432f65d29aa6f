package workers

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/internal/athlete"
	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// withoutKey replaces the key of activities by a unique index, which allows NULLs.
func withoutKey(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	execute(t, pool, `ALTER TABLE activities DROP CONSTRAINT activities_pkey, ALTER COLUMN activity_id DROP NOT NULL,
		ALTER COLUMN user_id DROP NOT NULL, ALTER COLUMN date DROP NOT NULL`)
	execute(t, pool, `CREATE UNIQUE INDEX ON activities (activity_id)`)
}

// insertRowsWithNULLs inserts two rows of user 7's without an id, and rows without a user,
// without a finite date, and without all three.
func insertRowsWithNULLs(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	execute(t, pool, `
		INSERT INTO activities (activity_id, user_id, date, total_load_miles, trimp, type, start_time, distance_miles, duration_minutes) VALUES
			(NULL, 7, '2025-03-05', 4, 40, 'Run', '07:00:00', 6, 60),
			(NULL, 7, '2025-03-05', 2, 20, NULL, NULL, NULL, NULL),
			(101, NULL, '2025-03-05', 8, 80, NULL, NULL, NULL, NULL),
			(102, 7, NULL, 16, 160, NULL, '23:00:00', NULL, NULL),
			(103, 7, '-infinity', 16, 160, NULL, NULL, NULL, NULL),
			(104, 7, 'infinity', 16, 160, NULL, NULL, NULL, NULL),
			(NULL, NULL, NULL, 32, 320, NULL, NULL, NULL, NULL)`)
}

// wantCounted checks the load of the 28 days up to a date, all results, and that no job
// failed.
func wantCounted(t *testing.T, pool *dbpool.Pool, date string, want int) {
	t.Helper()
	checkOracle(t, pool)
	if got := query[int](t, pool, `SELECT coalesce(round(max(twentyeight_day_avg_load) * 28)::int, 0) FROM activities WHERE user_id = 7 AND date = $1::text::date`, date); got != want {
		t.Errorf("%d miles count on %s, want %d", got, date, want)
	}
	if failed := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE cardinality(errors) > 0`); failed > 0 {
		t.Errorf("%d jobs failed", failed)
	}
}

// TestRowsWithNULLs: a row without an id counts like every other row of its athlete and
// date, and gets their results. A row without a user or a date counts nowhere. None of
// them keeps the others from being worked.
func TestRowsWithNULLs(t *testing.T) {
	t.Parallel()
	for _, doubles := range []string{athlete.CountDoubles, athlete.IgnoreLater} {
		t.Run(doubles, func(t *testing.T) {
			t.Parallel()
			pool := dbtest.Migrated(t)
			withoutKey(t, pool)
			insertRowsWithNULLs(t, pool)
			execute(t, pool, `UPDATE acwr_settings SET doubles = $1`, doubles)

			like := run(1, 7, "2025-03-05", 1, 10) // like a row without an id, which is no double of anything
			like.StartTime, like.DistanceMiles, like.DurationMinutes = ptr("07:00:00"), ptr(6.), ptr(60.)
			enqueue(t, pool, []jobs.Activity{like, run(2, 7, "2025-03-08", 64, 10), run(3, 7, "2025-03-05", 0, 0)})
			drain(t, pool)
			wantCounted(t, pool, "2025-03-05", 7)
			wantCounted(t, pool, "2025-03-08", 71)

			execute(t, pool, `UPDATE activities SET total_load_miles = 3 WHERE activity_id = 1`)
			execute(t, pool, `SELECT river.enqueue_acwr_recalc(7, '2025-03-05', '2025-03-05')`)
			drain(t, pool)
			wantCounted(t, pool, "2025-03-08", 73)

			execute(t, pool, `UPDATE activities SET acute_chronic_ratio = NULL`)
			b := newBackfills(t, pool)
			id := b.create(backfill.Scope{})
			drain(t, pool)
			wantCounted(t, pool, "2025-03-08", 73)
			if got := b.get(id); got.State != backfill.Finished || got.RowsChanged != 5 {
				t.Errorf("backfill: %+v, want it finished with 5 rows changed", got)
			}
			before := query[string](t, pool, versions)
			b.create(backfill.Scope{})
			drain(t, pool)
			if after := query[string](t, pool, versions); after != before {
				t.Error("another backfill wrote rows that were up to date")
			}
			wantReadable(t, pool)
		})
	}
}

// wantReadable checks what shows the rows of TestRowsWithNULLs.
func wantReadable(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	day := time.Date(2025, 3, 5, 0, 0, 0, 0, time.UTC)
	days, err := athlete.ReadDays(t.Context(), pool, 7, &day, &day, "none")
	if err != nil || len(days) != 1 || days[0].Activities != 4 || days[0].Stale {
		t.Errorf("ReadDays = %+v, %v, want a day with 4 activities that is not stale", days, err)
	}
	activities, err := athlete.ReadActivities(t.Context(), pool, 7, day, 10)
	if err != nil || len(activities) != 4 || activities[1].ActivityID == nil || activities[2].ActivityID != nil {
		t.Errorf("ReadActivities = %+v, %v, want two rows with an id before two without", activities, err)
	}
	err = pool.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		report, err := athlete.Compare(ctx, tx, athlete.CompareOptions{Rounding: acwr.RoundNone})
		if err != nil {
			return err
		}
		if report.Rows != 5 || report.Differing != 0 {
			t.Errorf("Compare = %+v, want 5 rows and no difference", report)
		}
		given := []jobs.Activity{run(101, 7, "2025-03-05", 8, 80), run(102, 7, "2025-03-05", 16, 160)}
		found, err := LikelyDoubles(ctx, tx, given)
		if len(found) > 0 {
			t.Errorf("LikelyDoubles = %v, want none", found)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestRowsWithInfiniteDatesUnderEWMA: the whole history does not contain them.
func TestRowsWithInfiniteDatesUnderEWMA(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	withoutKey(t, pool)
	insertRowsWithNULLs(t, pool)
	execute(t, pool, `UPDATE acwr_settings SET formula = 'ewma'`)
	enqueue(t, pool, []jobs.Activity{run(1, 7, "2025-03-05", 1, 10)})
	drain(t, pool)
	if got := query[int](t, pool, `SELECT count(*) FROM activities WHERE acute_chronic_ratio IS NOT NULL`); got != 3 {
		t.Errorf("%d rows have results, want 3", got)
	}
	if failed := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE cardinality(errors) > 0`); failed > 0 {
		t.Errorf("%d jobs failed", failed)
	}
}

// TestVersionsOfRowsWithNULLs: a row without a date gets that of the first version that
// comes, whole or partial. One without a user is nobody's: a version of it fails, and hinders
// no other job.
func TestVersionsOfRowsWithNULLs(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	withoutKey(t, pool)
	insertRowsWithNULLs(t, pool)
	fromUTC := run(102, 7, "2025-03-06", 5, 50)
	fromUTC.Partial, fromUTC.DayFromUTC, fromUTC.ElevationGainFeet = true, true, ptr(0.)
	enqueue(t, pool, []jobs.Activity{fromUTC}, []jobs.Activity{run(1, 7, "2025-03-05", 1, 10), run(103, 7, "2025-03-07", 3, 30), deletion(104, 7, "2025-03-07")})
	drain(t, pool)
	const want = "101  2025-03-05 8; 102 7 2025-03-06 5; 103 7 2025-03-07 3; "
	if got := query[string](t, pool, `SELECT string_agg(format('%s %s %s %s; ', activity_id, user_id, coalesce(date::text, '-'), total_load_miles), '' ORDER BY activity_id) FROM activities WHERE activity_id > 100`); got != want {
		t.Errorf("rows = %q, want %q", got, want)
	}
	wantCounted(t, pool, "2025-03-07", 15)

	enqueue(t, pool, []jobs.Activity{run(101, 7, "2025-03-05", 8, 80)}, []jobs.Activity{run(2, 7, "2025-03-08", 1, 10)})
	drain(t, pool)
	if got := query[string](t, pool, `SELECT string_agg(DISTINCT args->'activities'->0->>'activity_id' || ': ' || (errors[1]->>'error'), '; ') FROM river.river_job WHERE errors IS NOT NULL`); !strings.HasPrefix(got, "101: ") || !strings.Contains(got, "cannot scan NULL") {
		t.Errorf("errors = %q, want activity 101's", got)
	}
	if n := query[int](t, pool, `SELECT count(*) FROM activities WHERE activity_id = 2 AND acute_chronic_ratio IS NOT NULL`); n != 1 {
		t.Error("the neighbour has no results")
	}
}

// TestDatesThatNoJobCanName: the day of a row from the year 25 is not among those of a
// recalculation, which would be refused as a whole.
func TestDatesThatNoJobCanName(t *testing.T) {
	t.Parallel()
	got := recalcRanges(7, []int32{firstDay - 1, daysSinceEpoch("2025-03-05"), lastDay + 1, toDays(time.Date(25, 3, 5, 0, 0, 0, 0, time.UTC))})
	if want := (jobs.DateRange{UserID: 7, From: "2025-03-05", To: "2025-03-05"}); len(got) != 1 || got[0] != want {
		t.Errorf("recalcRanges = %v, want only %v", got, want)
	}
}
