package adoption

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const usersTable = `
CREATE TABLE user_settings (id serial PRIMARY KEY, email varchar(255) UNIQUE, resting_hr integer, max_hr integer, gender text,
	timezone varchar DEFAULT 'US/Pacific', last_sync_date text, strava_access_token text, strava_refresh_token text,
	strava_token_expires_at bigint, strava_athlete_id bigint);
INSERT INTO user_settings (email, resting_hr, max_hr, gender) SELECT i || '@example.org', 50, 180, 'female' FROM generate_series(1, 50) i;`

// oldColumns are the columns of every copy of the application's table, in its own
// order; laterColumns may be missing.
const (
	oldColumns = `activity_id bigint PRIMARY KEY, date date NOT NULL, name text, type text, distance_miles real, elevation_gain_feet real,
	elevation_load_miles real, total_load_miles real, avg_heart_rate real, max_heart_rate real, duration_minutes real, trimp real,
	time_in_zone1 real, time_in_zone2 real, time_in_zone3 real, time_in_zone4 real, time_in_zone5 real,
	seven_day_avg_load real, twentyeight_day_avg_load real, seven_day_avg_trimp real, twentyeight_day_avg_trimp real,
	acute_chronic_ratio real, trimp_acute_chronic_ratio real, normalized_divergence real, notes text, weight_lbs real,
	perceived_effort integer, feeling_score integer, user_id integer REFERENCES user_settings (id)`
	laterColumns = `, sport_type varchar, average_speed_mph numeric, cycling_equivalent_miles numeric, cycling_elevation_factor numeric,
	swimming_equivalent_miles real, strength_equivalent_miles real, rowing_equivalent_miles real, backcountry_skiing_equivalent_miles real,
	strength_rpe integer, trimp_calculation_method varchar(20), hr_stream_sample_count integer, trimp_processed_at timestamp,
	start_time text, device_name text, avg_temp_f real, trimp_dynamic real`
)

// rows inserts, for each of 50 users, 80 rows on 60 days: activities, two or three
// every fifth day, and rest days whose id combines the date's ordinal and the user.
const rows = `
INSERT INTO activities (activity_id, user_id, date, name, type, total_load_miles, trimp, notes, perceived_effort, seven_day_avg_load, acute_chronic_ratio)
SELECT CASE WHEN rest THEN -((day - date '0001-01-01' + 1) * 1000 + u) ELSE 12000000000 + u * 1000 + n END, u, day,
	CASE WHEN rest THEN 'Rest Day' ELSE 'Morning Run' END, CASE WHEN rest THEN 'rest' ELSE 'Trail Run' END,
	CASE WHEN rest THEN 0 ELSE (u * 7 + n * 3) % 17 + 0.31 END, CASE WHEN rest OR n % 7 = 0 THEN NULL ELSE (u + n) % 90 + 0.5 END,
	CASE WHEN n % 9 = 0 THEN 'felt good' END, n % 10, 1.23, 0.97
FROM generate_series(1, 50) u, generate_series(0, 79) n,
	LATERAL (SELECT date '2025-07-01' + CASE WHEN n < 60 THEN n ELSE (n - 60) % 12 * 5 END AS day, n < 60 AND n % 5 = 4 AS rest) AS d`

// variant is a possible state of the application's database.
type variant struct {
	name, columns, index string
	planned              []string // what the plan must contain
}

var variants = []variant{
	{
		"current", oldColumns + laterColumns, `CREATE INDEX idx_activities_user_date ON activities (user_id, date)`,
		[]string{"without rewriting it: ingest_job_id bigint\n", "found index idx_activities_user_date on activities (user_id, date)"},
	},
	{
		"older, without index", oldColumns, `CREATE INDEX idx_activities_date ON activities (date)`,
		[]string{"without rewriting it: sport_type varchar, average_speed_mph numeric,", "build index activities_user_id_date_worker_idx on activities (user_id, date), CONCURRENTLY"},
	},
	{
		"in between", strings.Replace(oldColumns+laterColumns, ", start_time text, device_name text, avg_temp_f real", "", 1),
		`CREATE INDEX by_user ON activities (user_id, date DESC, activity_id); CREATE INDEX only_some ON activities (user_id, date) WHERE trimp > 0`,
		[]string{"found index by_user"},
	},
}

// openApplication builds the application's database.
func openApplication(t *testing.T, v variant) *dbpool.Pool {
	t.Helper()
	pool := dbtest.Open(t, dbtest.New(t))
	execute(t, pool, usersTable+fmt.Sprintf(`CREATE TABLE activities (%s); %s; %s; ANALYZE activities`, v.columns, v.index, rows))
	return pool
}

func execute(t testing.TB, pool *dbpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func text(t testing.TB, pool *dbpool.Pool, sql string, args ...any) string {
	t.Helper()
	var s string
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&s); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return s
}
