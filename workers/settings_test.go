package workers

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// checkFormulas compares every stored row with the user's formula over the whole history.
func checkFormulas(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	r, err := pool.Query(t.Context(), `
		SELECT a.user_id, a.date - date '2000-01-01', array_agg(coalesce(total_load_miles, 0) ORDER BY activity_id), array_agg(coalesce(trimp, 0) ORDER BY activity_id),
		       min(twentyeight_day_avg_load), max(twentyeight_day_avg_load), count(*) - count(twentyeight_day_avg_load),
		       min(acute_chronic_ratio), min(trimp_acute_chronic_ratio), s.formula, s.chronic_days, s.decay_rate
		FROM activities AS a
		JOIN LATERAL (SELECT * FROM acwr_settings AS s WHERE s.user_id IN (0, a.user_id) ORDER BY s.user_id DESC LIMIT 1) AS s ON true
		GROUP BY a.user_id, a.date, s.formula, s.chronic_days, s.decay_rate
		ORDER BY 1, 2`)
	if err != nil {
		t.Fatal(err)
	}
	var user, last int32
	var day, missing int
	var loads, trimps []float32
	var minimum, maximum, external, internal *float32
	var s acwr.Settings
	var c *acwr.Calculator
	wrong := 0
	_, err = pgx.ForEachRow(r, []any{&user, &day, &loads, &trimps, &minimum, &maximum, &missing, &external, &internal, &s.Formula, &s.ChronicDays, &s.DecayRate}, func() error {
		if user != last {
			c, last = acwr.NewCalculator(s, acwr.RoundNone), user
		}
		want := c.Next(day, dailyActivities(loads, trimps)...)
		if missing > 0 || *minimum != *maximum || *minimum != want.TwentyEightDayAvgLoad || *external != want.AcuteChronicRatio || *internal != want.TrimpAcuteChronicRatio {
			wrong++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if wrong > 0 {
		t.Errorf("%d days are wrong", wrong)
	}
}

func dailyActivities(loads, trimps []float32) []acwr.Activity {
	activities := make([]acwr.Activity, len(loads))
	for i := range activities {
		activities[i] = acwr.Activity{Load: loads[i], Trimp: trimps[i]}
	}
	return activities
}

// TestSettingsChangeWhatFollows: each change recalculates its user, an edit
// recalculates the days within the user's window, and a new default recalculates
// everyone without settings.
func TestSettingsChangeWhatFollows(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	history(t, pool, 6, 300)
	newBackfills(t, pool).create(backfill.Scope{})
	drainWith(t, pool, smallChunks())
	checkFormulas(t, pool)

	execute(t, pool, `INSERT INTO acwr_settings (user_id, formula, chronic_days, decay_rate) VALUES
		(2, 'uncoupled', 42, 0.05), (3, 'ewma', 28, 0.05), (4, 'decay', 60, 0.1), (5, 'standard', 90, 0.05), (99, 'ewma', 28, 0.05)`)
	drain(t, pool)
	checkFormulas(t, pool)

	var edits []jobs.Activity
	for user := range int32(6) {
		edits = append(edits, run(int64(1_000_000+user), user+1, "2023-04-01", 33, 330))
	}
	enqueue(t, pool, edits)
	drain(t, pool)
	checkFormulas(t, pool)

	execute(t, pool, `UPDATE acwr_settings SET formula = 'decay', chronic_days = 42 WHERE user_id = 0`)
	execute(t, pool, `DELETE FROM acwr_settings WHERE user_id = 3`)
	drainWith(t, pool, smallChunks())
	checkFormulas(t, pool)

	before := query[string](t, pool, versions)
	jobsBefore := query[int](t, pool, `SELECT count(*) FROM river.river_job`)
	execute(t, pool, `UPDATE acwr_settings SET formula = formula`)
	if n := query[int](t, pool, `SELECT count(*) FROM river.river_job`); n != jobsBefore {
		t.Errorf("settings that did not change enqueued %d jobs", n-jobsBefore)
	}
	enqueue(t, pool, edits)
	drain(t, pool)
	if query[string](t, pool, versions) != before {
		t.Error("rows that were up to date were written")
	}
}

func TestImpossibleSettingsAreRefused(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	for statement, want := range map[string]string{
		`INSERT INTO acwr_settings (user_id, formula) VALUES (1, 'median')`: "formula_is_known",
		`INSERT INTO acwr_settings (user_id, chronic_days) VALUES (1, 27)`:  "chronic_days_are_28_to_90",
		`INSERT INTO acwr_settings (user_id, chronic_days) VALUES (1, 91)`:  "chronic_days_are_28_to_90",
		`INSERT INTO acwr_settings (user_id, decay_rate) VALUES (1, 0.21)`:  "decay_rate_is_001_to_020",
		`INSERT INTO acwr_settings (user_id, decay_rate) VALUES (1, 'NaN')`: "decay_rate_is_001_to_020",
		`INSERT INTO acwr_settings (user_id) VALUES (-1)`:                   "user_id_is_not_negative",
		`DELETE FROM acwr_settings WHERE user_id = 0`:                       "has to stay",
		`UPDATE acwr_settings SET user_id = 5 WHERE user_id = 0`:            "has to stay",
	} {
		if _, err := pool.Exec(t.Context(), statement); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s = %v, want an error with %q", statement, err, want)
		}
	}
}
