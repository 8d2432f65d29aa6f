package workers

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestSeriesEqualsTheCalculator compares acwr_series with internal/acwr, bit for bit,
// on every calendar day before, during and after random histories.
func TestSeriesEqualsTheCalculator(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `SELECT setseed(0.42)`)
	execute(t, pool, `
		INSERT INTO activities (activity_id, user_id, date, total_load_miles, trimp)
		SELECT row_number() OVER (), u, date '2023-01-01' + d + CASE WHEN d > 250 THEN 500 ELSE 0 END,
		       CASE WHEN random() < 0.9 THEN (random() * 20)::numeric(6, 2) END, CASE WHEN d > 60 THEN (random() * 300)::numeric(6, 2) END
		FROM generate_series(1, 8) AS u, generate_series(1, 300) AS d, generate_series(1, 3) AS again
		WHERE random() < 0.3`)
	execute(t, pool, `INSERT INTO acwr_settings VALUES (2, 'uncoupled', 28, 0.05), (3, 'ewma', 28, 0.05), (4, 'decay', 28, 0.05),
		(5, 'decay', 61, 0.123), (6, 'ewma', 90, 0.2), (7, 'standard', 43, 0.01), (8, 'uncoupled', 90, 0.01)`)
	for user := range int32(9) { // user 9 has no activity
		for _, rounding := range []acwr.Rounding{acwr.RoundNone, acwr.RoundApp} {
			var s acwr.Settings
			err := pool.QueryRow(t.Context(), `SELECT formula, chronic_days, decay_rate FROM acwr_settings WHERE user_id IN (0, $1) ORDER BY user_id DESC LIMIT 1`, user+1).
				Scan(&s.Formula, &s.ChronicDays, &s.DecayRate)
			if err != nil {
				t.Fatal(err)
			}
			c := acwr.NewCalculator(s, rounding)
			rows, err := pool.Query(t.Context(), `SELECT s.date - date '2000-01-01', a.loads, a.trimps, s.seven_day_avg_load, s.twentyeight_day_avg_load,
				s.seven_day_avg_trimp, s.twentyeight_day_avg_trimp, s.acute_chronic_ratio, s.trimp_acute_chronic_ratio, s.normalized_divergence
				FROM acwr_series($1, '2022-12-01', '2029-06-30', $2) AS s
				LEFT JOIN (SELECT date, array_agg(coalesce(total_load_miles, 0) ORDER BY activity_id) AS loads, array_agg(coalesce(trimp, 0) ORDER BY activity_id) AS trimps
				           FROM activities WHERE user_id = $1 GROUP BY date) AS a USING (date)
				ORDER BY s.date`, user+1, rounding.String())
			if err != nil {
				t.Fatal(err)
			}
			var day int
			var loads, trimps []float32
			var got acwr.Values
			days, wrong := 0, 0
			_, err = pgx.ForEachRow(rows, []any{
				&day, &loads, &trimps, &got.SevenDayAvgLoad, &got.TwentyEightDayAvgLoad, &got.SevenDayAvgTrimp,
				&got.TwentyEightDayAvgTrimp, &got.AcuteChronicRatio, &got.TrimpAcuteChronicRatio, &got.NormalizedDivergence,
			}, func() error {
				days++
				if want := c.Next(day, dailyActivities(loads, trimps)...); got != want {
					if wrong++; wrong == 1 {
						t.Errorf("user %d, %+v, rounding %s, day %d: %+v, want %+v", user+1, s, rounding, day, got, want)
					}
				}
				return nil
			})
			if err != nil || days != 2404 || wrong > 0 {
				t.Errorf("user %d, %+v, rounding %s: %d of %d days are wrong (%v), want 2404 days", user+1, s, rounding, wrong, days, err)
			}
		}
	}
}

// TestSeriesOfRowsWithNULLs: rows without a finite date change no day of a series, whose
// values are those that the worker stored; rows without an id count as for the worker.
func TestSeriesOfRowsWithNULLs(t *testing.T) {
	t.Parallel()
	for _, formula := range []string{"standard", "ewma"} {
		t.Run(formula, func(t *testing.T) {
			t.Parallel()
			pool := dbtest.Migrated(t)
			withoutKey(t, pool)
			execute(t, pool, `UPDATE acwr_settings SET formula = $1`, formula)
			insertRowsWithNULLs(t, pool)
			enqueue(t, pool, []jobs.Activity{run(1, 7, "2025-03-05", 1, 10), run(2, 7, "2025-03-08", 64, 10)})
			drain(t, pool)
			read := func(series string) string {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				var days string
				if err := pool.QueryRow(ctx, `SELECT string_agg(s::text, E'\n' ORDER BY s.date) FROM `+series+` AS s`).Scan(&days); err != nil {
					t.Fatalf("%s: %v", series, err)
				}
				return days
			}
			const dated, undated = `acwr_series(7, '2025-03-01', '2025-04-30')`, `acwr_series(7)`
			days, toToday := read(dated), read(undated)
			differing := query[int](t, pool, `
				SELECT count(*) FROM activities AS a LEFT JOIN `+dated+` AS s USING (date) WHERE a.user_id = 7 AND isfinite(a.date) AND
					(a.seven_day_avg_load, a.twentyeight_day_avg_load, a.acute_chronic_ratio, a.trimp_acute_chronic_ratio, a.normalized_divergence) IS DISTINCT FROM
					(s.seven_day_avg_load, s.twentyeight_day_avg_load, s.acute_chronic_ratio, s.trimp_acute_chronic_ratio, s.normalized_divergence)`)
			if differing > 0 || !strings.HasPrefix(toToday, "(2025-03-05,7,") {
				t.Errorf("%d rows differ from the series, which begins with %.40s", differing, toToday)
			}
			execute(t, pool, `DELETE FROM activities WHERE NOT coalesce(isfinite(date), false)`)
			if diff := cmp.Diff(read(dated), days); diff != "" {
				t.Errorf("rows without a finite date change the series (-without +with):\n%s", diff)
			}
			if diff := cmp.Diff(read(undated), toToday); diff != "" {
				t.Errorf("rows without a finite date change the series to today (-without +with):\n%s", diff)
			}
			execute(t, pool, `INSERT INTO activities (user_id, date) VALUES (9, '-infinity'), (9, 'infinity'), (9, NULL)`)
			if n := query[int](t, pool, `SELECT count(*) FROM acwr_series(9)`); n > 0 {
				t.Errorf("a series without a date has %d days", n)
			}
		})
	}
}
