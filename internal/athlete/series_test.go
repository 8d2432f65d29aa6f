package athlete_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/athlete"
	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func read(t *testing.T, pool *dbpool.Pool, user int32) []athlete.Day {
	t.Helper()
	days, err := athlete.ReadDays(t.Context(), pool, user, nil, nil, "none")
	if err != nil {
		t.Fatal(err)
	}
	return days
}

// TestSeriesRunsToToday: an athlete who stopped training 60 days ago has a ratio of 0
// today, in their own time zone, despite activities in the future.
func TestSeriesRunsToToday(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	zones := []struct{ stored, meant string }{ // of users 1, 2, …
		{"Pacific/Kiritimati", "Pacific/Kiritimati"}, // 25 hours ahead of the next
		{"Pacific/Pago_Pago", "Pacific/Pago_Pago"},
		{"(GMT-11:00) Pacific/Pago_Pago", "Pacific/Pago_Pago"},
		{"Mars/Olympus", "UTC"},
		{"", "UTC"},
		{"nobody has this row", "UTC"},
	}
	check := func(when string, timeZone func(i int) string) {
		t.Helper()
		for i := range zones {
			user := int32(i + 1)
			location, err := time.LoadLocation(timeZone(i))
			if err != nil {
				t.Fatal(err)
			}
			before := time.Now().In(location).Format(time.DateOnly)
			days := read(t, pool, user)
			after := time.Now().In(location).Format(time.DateOnly)
			last := days[len(days)-1]
			if last.Date != before && last.Date != after || last.AcuteChronicRatio != 0 || last.TwentyEightDayAvgLoad != 0 || len(days) < 60 {
				t.Errorf("%s, user %d: %d days to %+v, want them to run to %s in %s with a ratio of 0", when, user, len(days), last, after, location)
			}
		}
	}
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, total_load_miles, trimp)
		SELECT u * 100 + i, u, CASE i WHEN 0 THEN '2098-01-01' ELSE current_date - 60 - i END, 5, 50 FROM generate_series(1, $1) AS u, generate_series(0, 9) AS i`, len(zones))

	check("without user_settings", func(int) string { return "UTC" })
	execute(t, pool, `CREATE TABLE user_settings (id integer PRIMARY KEY, timezone varchar)`)
	for i, zone := range zones[:len(zones)-1] {
		execute(t, pool, `INSERT INTO user_settings VALUES ($1, $2)`, i+1, zone.stored)
	}
	check("with user_settings", func(i int) string { return zones[i].meant })
	execute(t, pool, `ALTER TABLE user_settings DROP COLUMN timezone`)
	check("without the column", func(int) string { return "UTC" })

	later, err := athlete.ReadLater(t.Context(), pool, 1)
	if err != nil || later.Activities != 1 || later.First != "2098-01-01" || later.Last != "2098-01-01" {
		t.Errorf("after today there is %+v, %v", later, err)
	}
}

// TestDatesThatAreNotFinite: rows with them, or without a date, are before or after no day.
func TestDatesThatAreNotFinite(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `ALTER TABLE activities ALTER COLUMN date DROP NOT NULL`)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date) VALUES
		(1, 7, '-infinity'), (2, 7, 'infinity'), (3, 7, NULL), (4, 7, current_date - 10), (5, 7, '2098-01-01'), (6, 8, '-infinity'), (7, 8, 'infinity')`)
	for user, later := range map[int32]int{7: 1, 8: 0} { // user 8 has no finite date
		finite := later > 0
		bounds, err := athlete.ReadBounds(t.Context(), pool, user)
		if err != nil || (bounds.First != nil) != finite || bounds.First != nil && bounds.Today.Sub(*bounds.First) > 12*24*time.Hour {
			t.Errorf("ReadBounds(%d) = %+v, %v, want the first of the finite dates", user, bounds, err)
		}
		got, err := athlete.ReadLater(t.Context(), pool, user)
		if err != nil || got.Activities != later || strings.Contains(got.Last, "infinity") {
			t.Errorf("ReadLater(%d) = %+v, %v, want %d", user, got, err, later)
		}
		if days := read(t, pool, user); (len(days) > 0) != finite || len(days) > 12 {
			t.Errorf("ReadDays(%d) has %d days, want those of the finite dates", user, len(days))
		}
	}
}

// TestSeriesWithoutDates: the SQL form without dates equals the form with dates from
// the first activity to today.
func TestSeriesWithoutDates(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, total_load_miles, trimp)
		SELECT i, 1 + i % 2, current_date - i * 3, i % 7 + 0.7, i % 90 FROM generate_series(1, 40) AS i`)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, total_load_miles) VALUES (50, 3, '2098-01-01', 5), (60, 4, '0001-01-01', 5)`)
	for user, first := range map[int32]int{1: 120, 2: 117, 3: -1, 5: -1} { // the first activity's age in days
		for call, rounding := range map[string]string{"acwr_series($1)": "none", "acwr_series($1, 'none')": "none", "acwr_series($1, 'app')": "app"} {
			var days, want, differing int
			err := pool.QueryRow(t.Context(), `
				WITH today AS (SELECT (now() AT TIME ZONE 'UTC')::date AS date),
				span AS (SELECT CASE WHEN $2::int < 0 THEN 0 ELSE today.date - min(a.date) + $2::int END AS days, today.date FROM today, activities AS a WHERE activity_id = 1 GROUP BY today.date)
				SELECT count(s), (SELECT days FROM span), count(*) FILTER (WHERE to_jsonb(s) IS DISTINCT FROM to_jsonb(d))
				FROM `+call+` AS s
				FULL JOIN (SELECT d.* FROM span, acwr_series($1, span.date - span.days + 1, span.date, $3) AS d WHERE span.days > 0) AS d ON d.date = s.date`,
				user, first-2, rounding).Scan(&days, &want, &differing)
			if err != nil {
				t.Fatal(err)
			}
			if days != want || differing > 0 {
				t.Errorf("%s of user %d: %d days, %d differ from the form with dates, want %d and 0", call, user, days, differing, want)
			}
		}
	}
	var days int
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM acwr_series(4)`).Scan(&days); err != nil || days != 150001 {
		t.Errorf("with an activity two thousand years ago: %d days, %v, want the 150,001 that a series has at most", days, err)
	}
}

// TestRoleWithoutUserSettings: a role that may read activities and formulas may call
// acwr_series, which then uses UTC.
func TestRoleWithoutUserSettings(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	role := "reader_of_" + pool.Config().ConnConfig.Database
	execute(t, pool, `CREATE TABLE user_settings (id integer PRIMARY KEY, timezone varchar, strava_access_token text)`)
	execute(t, pool, `CREATE ROLE `+pgx.Identifier{role}.Sanitize())
	t.Cleanup(func() {
		_, _ = pool.Exec(context.WithoutCancel(t.Context()), `DROP OWNED BY `+pgx.Identifier{role}.Sanitize()+`; DROP ROLE `+pgx.Identifier{role}.Sanitize())
	})
	execute(t, pool, `GRANT SELECT ON activities, acwr_settings TO `+pgx.Identifier{role}.Sanitize())
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, total_load_miles) VALUES (1, 1, current_date, 5)`)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	var today bool
	if _, err := tx.Exec(t.Context(), `SET LOCAL ROLE `+pgx.Identifier{role}.Sanitize()); err != nil {
		t.Fatal(err)
	}
	if err := tx.QueryRow(t.Context(), `SELECT max(date) = (now() AT TIME ZONE 'UTC')::date FROM acwr_series(1)`).Scan(&today); err != nil || !today {
		t.Errorf("a role that reads activities and formulas only: %v, %v", today, err)
	}
}

// TestQuality has a day for every mark, and a similar day without it.
func TestQuality(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `
		INSERT INTO acwr_settings VALUES (2, 'ewma', 42, 0.05);
		INSERT INTO activities (activity_id, user_id, date, type, sport_type, distance_miles, elevation_gain_feet, duration_minutes, total_load_miles, trimp, avg_heart_rate) VALUES
			(-1, 1, '2025-01-01', 'rest', NULL,       0,   0,   0,  0,    0,    NULL), -- a placeholder is no activity
			(1,  1, '2025-01-05', 'Run',  'running',  6,   0,   60, 6,    80,   150),
			(2,  1, '2025-03-01', 'Run',  'running',  6,   0,   60, 6,    0,    NULL),
			(3,  1, '2025-03-02', 'Run',  'running',  6,   0,   60, 6,    NULL, 0),
			(4,  1, '2025-03-03', 'Run',  'running',  6,   0,   60, 6,    80,   NULL), -- its TRIMP came from elsewhere
			(5,  1, '2025-03-04', 'Run',  'running',  6,   0,   60, 6,    0,    45),   -- at rest, with a strap
			(6,  1, '2025-03-05', 'Run',  'running',  6,   0,   60, 6,    80,   150),
			(7,  1, '2025-03-05', 'Run',  'running',  6,   0,   60, 6,    0,    NULL), -- one of two
			(-2, 1, '2025-03-06', 'rest', NULL,       0,   0,   0,  0,    0,    NULL),
			(8,  1, '2025-03-07', 'Swim', 'swimming', 559, 0,   20, 2237, 30,   120),  -- 900 metres for miles
			(9,  1, '2025-03-08', 'Run',  'running',  26,  900, 60, 27,   0,    NULL), -- on a bicycle
			(10, 1, '2025-03-09', 'Ride', 'cycling',  26,  900, 60, 11,   90,   150),
			(11, 1, '2098-01-01', 'Run',  'running',  6,   0,   60, 6,    80,   150),
			(12, 2, '2025-01-05', 'Run',  'running',  6,   0,   60, 6,    80,   150)`)
	for _, c := range []struct {
		user      int32
		date      string
		qualities string
	}{
		{1, "2025-01-04", "short_history"},
		{1, "2025-01-05", "short_history"},
		{1, "2025-01-31", "short_history"},
		{1, "2025-02-01", ""}, // its window begins with the first activity
		{1, "2025-03-01", "no_heart_rate"},
		{1, "2025-03-02", "no_heart_rate"},
		{1, "2025-03-03", ""},
		{1, "2025-03-04", ""},
		{1, "2025-03-05", "no_heart_rate"},
		{1, "2025-03-06", ""},
		{1, "2025-03-07", "implausible"},
		{1, "2025-03-08", "no_heart_rate implausible"},
		{1, "2025-03-09", ""},
		{1, "2098-01-01", "future"},
		{1, "2098-01-02", "future"},
		{2, "2025-01-31", "short_history"}, // of 42 days
		{2, "2025-02-14", "short_history"},
		{2, "2025-02-15", ""},
		{3, "2025-02-15", "short_history"}, // no activity at all
	} {
		var got string
		if err := pool.QueryRow(t.Context(), `SELECT array_to_string(quality, ' ') FROM acwr_series($1, $2, $2)`, c.user, c.date).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != c.qualities {
			t.Errorf("user %d, %s: quality %q, want %q", c.user, c.date, got, c.qualities)
		}
	}
}

// TestDoublesInSeries: a double marks its day. Where doubles are ignored, its load does
// not count and its faults do not mark the day.
func TestDoublesInSeries(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `
		INSERT INTO activities (activity_id, user_id, date, type, sport_type, start_time, distance_miles, duration_minutes, total_load_miles, trimp, avg_heart_rate) VALUES
			(1, 1, current_date - 40, 'Run', 'running', '07:00:00', 6, 60, 6.1, 80, 150),
			(2, 1, current_date - 1,  'Run', 'running', '07:00:00', 6, 60, 6.1, 80, 150),
			(3, 1, current_date - 1,  'Run', 'running', '07:01:00', 6, 61, 6.3, NULL, NULL),
			(4, 1, current_date - 1,  'Run', 'running', '17:01:00', 6, 61, 1.2, 20, 150),
			(5, 1, current_date,      'Run', 'running', '07:00:00', 6, 60, 6.1, 80, 150)`)
	for setting, want := range map[string]struct {
		quality     string
		load, trimp float64
		week        float32
	}{
		"count":        {"no_heart_rate likely_double", 13.6, 100, 19.7 / 7},
		"ignore-later": {"likely_double", 7.3, 100, 13.4 / 7},
	} {
		execute(t, pool, `UPDATE acwr_settings SET doubles = $1`, setting)
		days := read(t, pool, 1)
		day, after := days[len(days)-2], days[len(days)-1]
		if got := strings.Join(day.Quality, " "); got != want.quality || day.LoadMiles != want.load || day.Trimp != want.trimp || day.Activities != 3 {
			t.Errorf("%s: %+v, want quality %s, load %v, TRIMP %v and three activities", setting, day, want.quality, want.load, want.trimp)
		}
		if len(after.Quality) > 0 || math.Abs(float64(after.SevenDayAvgLoad-want.week)) > 1e-6 {
			t.Errorf("%s: the day after is %+v, want an average of %v and no mark", setting, after, want.week)
		}
		var load, trimp float64
		if err := pool.QueryRow(t.Context(), `SELECT total_load_miles, trimp FROM acwr_series(1, 'app') WHERE date = current_date - 1`).Scan(&load, &trimp); err != nil || math.Abs(load-want.load) > 1e-9 || trimp != want.trimp {
			t.Errorf("%s: acwr_series sums up %v and %v, %v, want %v and %v", setting, load, trimp, err, want.load, want.trimp)
		}
	}
}

// TestPlausibilityIsTheSameInSQL compares internal/trainingload with acwr_implausible
// on values around every bound.
func TestPlausibilityIsTheSameInSQL(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	rows, err := pool.Query(t.Context(), `
		SELECT sport, miles, feet, minutes, load, acwr_implausible(sport, miles, feet, minutes, load)
		FROM (SELECT (ARRAY['running', 'cycling', 'swimming', 'rowing', 'backcountry_skiing', 'strength', NULL])[1 + i % 7] AS sport,
			nullif((random() * 10 ^ (i % 5 - 1))::real, 0) AS miles, CASE WHEN i % 3 > 0 THEN (random() * 10 ^ (i % 6))::real END AS feet,
			CASE WHEN i % 11 > 0 THEN (random() * 10 ^ (i % 4 + 1))::real END AS minutes, CASE WHEN i % 13 > 0 THEN (random() * 10 ^ (i % 4))::real END AS load
			FROM generate_series(1, 20000) AS i) AS any_values`)
	if err != nil {
		t.Fatal(err)
	}
	var sport *string
	var miles, feet, minutes, load *float32
	var inSQL bool
	differing, implausible := 0, 0
	_, err = pgx.ForEachRow(rows, []any{&sport, &miles, &feet, &minutes, &load, &inSQL}, func() error {
		session := trainingload.Session{Miles: orZero(miles), Feet: orZero(feet), Minutes: orZero(minutes)}
		if sport != nil {
			session.Sport = trainingload.Sport(*sport)
		}
		reasons := trainingload.Implausible(session, orZero(load))
		if len(reasons) > 0 {
			implausible++
		}
		if inSQL != (len(reasons) > 0) {
			if differing++; differing == 1 {
				t.Errorf("%+v, load %v: %q, in SQL %v", session, orZero(load), reasons, inSQL)
			}
		}
		return nil
	})
	if err != nil || differing > 0 || implausible < 1000 || implausible > 19000 {
		t.Errorf("%d of 20,000 differ, %d are implausible, %v", differing, implausible, err)
	}
}

func orZero(x *float32) float64 {
	if x == nil {
		return 0
	}
	return float64(*x)
}
