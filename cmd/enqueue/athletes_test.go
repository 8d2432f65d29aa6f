package main

import (
	"testing"

	"github.com/trainingmonkey/worker/dbpool"
)

const settingsTable = `
CREATE TABLE user_settings (id serial PRIMARY KEY, resting_hr integer, max_hr integer, gender text, timezone varchar DEFAULT 'US/Pacific', strava_access_token text);
INSERT INTO user_settings (id, resting_hr, max_hr, gender) VALUES (7, 50, 180, 'F'), (8, NULL, NULL, NULL), (9, 150, 120, 'male'), (10, 50, 180, 'robot')`

func settings(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), settingsTable); err != nil {
		t.Fatal(err)
	}
}

// hour is an activity whose TRIMP is to be computed.
func hour(user string) string {
	return `{"activity_id":` + user + `1,"user_id":` + user + `,"date":"2025-09-28","type":"Run","distance_miles":6,"avg_heart_rate":150,"duration_minutes":60}` + "\n"
}

const trimps = `SELECT string_agg(a->>'user_id' || ' ' || (a->>'trimp'), '; ' ORDER BY a->>'user_id') FROM river.river_job, jsonb_array_elements(args->'activities') AS a`

func TestHeartRatesComeFromTheApplication(t *testing.T) {
	pool := migrated(t)
	settings(t, pool)
	enqueue(t, "ingest", file(t, "a.ndjson", hour("7")+hour("8")+hour("11"))).want(t, 0, "enqueued 3 activities")
	// 106.73: 60 min at 150, 50 to 180, female. The others have the defaults.
	if got, want := query[string](t, pool, trimps), "11 138.72; 7 106.73; 8 138.72"; got != want {
		t.Errorf("TRIMPs = %s, want %s", got, want)
	}

	// Flags win over what is entered.
	if _, err := pool.Exec(t.Context(), `TRUNCATE river.river_job`); err != nil {
		t.Fatal(err)
	}
	enqueue(t, "ingest", "--gender", "male", file(t, "b.ndjson", hour("7"))).want(t, 0)
	if got, want := query[string](t, pool, trimps), "7 129.36"; got != want {
		t.Errorf("TRIMPs = %s, want %s", got, want)
	}

	for user, complaint := range map[string]string{
		"9":  "user_settings of user 9: ",
		"10": `user_settings of user 10: gender must be M, F, male or female, got "robot"`,
	} {
		enqueue(t, "ingest", file(t, "c.ndjson", hour("7")+hour(user))).want(t, 2, "c.ndjson:2: ", complaint, "nothing was enqueued")
	}
}

// TestLocalDatesComeFromTheApplication: a run late in the evening is one of the
// day before in UTC.
func TestLocalDatesComeFromTheApplication(t *testing.T) {
	pool := migrated(t)
	settings(t, pool)
	const export = "Activity ID,Activity Date,Activity Name,Activity Type,Elapsed Time,Distance\n" +
		`5,"Oct 7, 2022, 3:19:20 AM",Run,Run,1800,5` + "\n"
	const date = `SELECT max(a->>'date') FROM river.river_job, jsonb_array_elements(args->'activities') AS a WHERE job_is_newest(river_job.id)`
	if _, err := pool.Exec(t.Context(), `CREATE FUNCTION job_is_newest(bigint) RETURNS boolean LANGUAGE sql AS 'SELECT $1 = max(id) FROM river.river_job'`); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--user", "7"}, "2022-10-06"},
		{[]string{"--user", "7", "--timezone", "Europe/Berlin"}, "2022-10-07"},
		{[]string{"--user", "12"}, "2022-10-07"},
	} {
		enqueue(t, append(append([]string{"ingest"}, c.args...), file(t, "activities.csv", export))...).want(t, 0, "enqueued 1 activity")
		if got := query[string](t, pool, date); got != c.want {
			t.Errorf("date with %v = %s, want %s", c.args, got, c.want)
		}
	}
}
