package adoption

import (
	"testing"

	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/internal/athlete"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// historiesQuery generates histories of 40 athletes: gaps, days of up to four
// activities with ids in random order, loads of one and two decimals and some with
// every digit of a real, NULLs and rest days.
const historiesQuery = `
SELECT setseed(0.16);
CREATE TABLE histories AS
SELECT row_number() OVER (ORDER BY random()) AS activity_id, u AS user_id, date '2024-01-01' + d AS date,
	(CASE WHEN kind < 0.1 THEN NULL WHEN kind < 0.5 THEN (random() * 20)::numeric(6, 1) WHEN kind < 0.95 THEN (random() * 20)::numeric(6, 2) ELSE random() * 20 END)::real AS total_load_miles,
	(CASE WHEN kind < 0.2 THEN 0 WHEN kind < 0.6 THEN (random() * 300)::numeric(6, 1) ELSE (random() * 300)::numeric(6, 2) END)::real AS trimp
FROM generate_series(1, 40) AS u, generate_series(1, 330) AS d, generate_series(1, 4) AS again, LATERAL (SELECT random() + 0 * (u + d + again) AS kind) AS k
WHERE random() < 0.25 AND d % (40 + u) > u / 3`

// differingSeriesQuery counts the rows whose values differ from acwr_series.
const differingSeriesQuery = `
SELECT count(*) FILTER (WHERE (a.seven_day_avg_load, a.twentyeight_day_avg_load, a.seven_day_avg_trimp, a.twentyeight_day_avg_trimp,
		a.acute_chronic_ratio, a.trimp_acute_chronic_ratio, a.normalized_divergence) IS DISTINCT FROM
	(s.seven_day_avg_load, s.twentyeight_day_avg_load, s.seven_day_avg_trimp, s.twentyeight_day_avg_trimp,
		s.acute_chronic_ratio, s.trimp_acute_chronic_ratio, s.normalized_divergence)) || ' of ' || count(*)
FROM generate_series(1, 40) AS u
CROSS JOIN LATERAL acwr_series(u, '2023-12-01', '2025-01-31', 'app') AS s
JOIN activities AS a ON a.user_id = u AND a.date = s.date`

// TestRoundingOfTheApplication: with acwr.rounding app every way to compute a row gives
// Python's result digit for digit.
func TestRoundingOfTheApplication(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, historiesQuery)
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	check := func(by string) {
		t.Helper()
		total := text(t, pool, `SELECT count(*)::text FROM activities`)
		if got := wrongRows(t, pool); got != "0 of "+total || len(total) < 5 {
			t.Errorf("%s: %s rows are not what the application's rules give, want 0 of 10,000 or more", by, got)
		}
	}
	for _, changes := range []string{
		`SELECT river.enqueue_activity_ingest(jsonb_agg(to_jsonb(h) - 'job'))
			FROM (SELECT *, activity_id / 900 AS job FROM histories) AS h GROUP BY job`,
		// Half the athletes get one more activity; one of the others' is moved.
		`SELECT river.enqueue_activity_ingest(jsonb_agg(jsonb_build_object('activity_id', user_id % 2 * 1000000 + activity_id,
				'user_id', user_id, 'date', date + 3, 'total_load_miles', 7.7, 'trimp', 33.3)))
			FROM (SELECT DISTINCT ON (user_id) * FROM histories WHERE date > '2024-05-01' ORDER BY user_id, date) AS h`,
		`WITH changed AS (
				UPDATE activities SET total_load_miles = 6.1, trimp = 12.34 WHERE activity_id % 50 = 3 RETURNING user_id, date
			) SELECT river.enqueue_acwr_recalc(user_id, min(date), max(date)) FROM changed GROUP BY user_id`,
	} {
		execute(t, pool, changes)
		drainBesideApplication(t, pool)
	}
	check("ingest and recalculation")
	execute(t, pool, `UPDATE activities SET seven_day_avg_load = 1, acute_chronic_ratio = 1`)
	createBackfill(t, pool, enqueuer)
	drainBesideApplication(t, pool)
	check("backfill")
	total := text(t, pool, `SELECT count(*)::text FROM activities`)
	if got, want := text(t, pool, differingSeriesQuery), "0 of "+total; got != want {
		t.Errorf("%s rows are not what acwr_series gives", got)
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if r, err := athlete.Compare(t.Context(), tx, athlete.CompareOptions{Rounding: acwr.RoundApp}); err != nil || r.Differing > 0 {
		t.Errorf("the comparison finds %+v, %v", r, err)
	}
}
