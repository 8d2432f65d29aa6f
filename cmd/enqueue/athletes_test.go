package main

import (
	"strings"
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

// hour is an hour's activity whose TRIMP must be computed.
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

	// Flags override the settings.
	if _, err := pool.Exec(t.Context(), `TRUNCATE river.river_job`); err != nil {
		t.Fatal(err)
	}
	enqueue(t, "ingest", "--gender", "male", file(t, "b.ndjson", hour("7"))).want(t, 0)
	if got, want := query[string](t, pool, trimps), "7 129.36"; got != want {
		t.Errorf("TRIMPs = %s, want %s", got, want)
	}
}

// TestBadSettingsCostNobodyElse: an athlete's settings cannot be used. The athlete's
// activities get the external load only, the others' their TRIMP too.
func TestBadSettingsCostNobodyElse(t *testing.T) {
	pool := migrated(t)
	settings(t, pool)
	for user, complaint := range map[string]string{
		"9":  "warning: user_settings of user 9: resting heart rate must lie between 20 and 120, got 150",
		"10": `warning: user_settings of user 10: gender must be M, F, male or female, got "robot"`,
	} {
		execute(t, pool, `TRUNCATE river.river_job`)
		got := enqueue(t, "ingest", file(t, "c.ndjson", hour(user)+hour("7")+strings.Replace(hour(user), "1,", "2,", 1)))
		got.want(t, 0, "enqueued 3 activities")
		if strings.Count(got.stderr, "warning: ") != 1 || !strings.Contains(got.stderr, complaint) {
			t.Errorf("stderr %q, want one warning, %q", got.stderr, complaint)
		}
		if got, want := query[string](t, pool, trimps), "7 106.73"; got != want {
			t.Errorf("TRIMPs with user %s = %s, want %s", user, got, want)
		}
		if n := query[int](t, pool, `SELECT count(*) FROM river.river_job, jsonb_array_elements(args->'activities') AS a WHERE a->>'total_load_miles' = '6'`); n != 3 {
			t.Errorf("%d activities have their external load, want 3", n)
		}
	}
}

// TestFlagsWinBeforeSettingsAreJudged has a row without a usable value, in numeric
// columns and in text columns.
func TestFlagsWinBeforeSettingsAreJudged(t *testing.T) {
	pool := migrated(t)
	const export = csvHeader + `5,"Oct 7, 2022, 3:19:20 AM",Run,Run,1800,5` + "\n"
	for _, table := range []string{
		`CREATE TABLE user_settings (id int, resting_hr int, max_hr int, gender text, timezone text); INSERT INTO user_settings VALUES (7, 150, 120, 'other', 'Mars/Base')`,
		`CREATE TABLE user_settings (id int, resting_hr text, max_hr text, gender text, timezone text); INSERT INTO user_settings VALUES (7, 'unknown', 'unknown', 'unknown', 'unknown')`,
	} {
		execute(t, pool, `DROP TABLE IF EXISTS user_settings; TRUNCATE river.river_job; `+table)
		path, hours := file(t, "activities.csv", export), file(t, "a.ndjson", hour("7"))
		enqueue(t, "ingest", "--user", "7", path).want(t, 2, "user_settings of user 7: timezone must be a name of the IANA database", "give --timezone", "nothing was enqueued")
		enqueue(t, "ingest", "--user", "7", "--timezone", "Europe/Berlin", path).want(t, 0, "enqueued 1 activity of 1 user from 2022-10-07")
		got := enqueue(t, "ingest", "--resting-hr", "50", "--max-hr", "180", "--gender", "male", hours)
		got.want(t, 0, "enqueued 1 activity")
		if strings.Contains(got.stderr, "warning") {
			t.Errorf("stderr %q, want no warning", got.stderr)
		}
		if got := query[string](t, pool, trimps); !strings.Contains(got, "7 129.36") {
			t.Errorf("TRIMPs = %s, want 129.36", got)
		}
	}
}

// TestSettingsAsPeopleWriteThem: 0 means not entered, and unambiguous spellings are
// accepted.
func TestSettingsAsPeopleWriteThem(t *testing.T) {
	pool := migrated(t)
	execute(t, pool, `CREATE TABLE user_settings (id int, resting_hr int, max_hr int, gender text, timezone text);
		INSERT INTO user_settings VALUES (7, 0, 0, ' Female ', '(GMT-08:00) America/Los_Angeles'), (8, 50, 180, 'Male', '')`)
	enqueue(t, "ingest", file(t, "a.ndjson", hour("7")+hour("8"))).want(t, 0, "enqueued 2 activities")
	// 113.83: 60 min at 150, 44 to 178, female.
	if got, want := query[string](t, pool, trimps), "7 113.83; 8 129.36"; got != want {
		t.Errorf("TRIMPs = %s, want %s", got, want)
	}
	enqueue(t, "ingest", "--user", "7", file(t, "activities.csv", csvHeader+`5,"Oct 7, 2022, 3:19:20 AM",Run,Run,1800,5`+"\n")).
		want(t, 0, "enqueued 1 activity of 1 user from 2022-10-06")
}

// TestLocalDatesComeFromTheApplication: a run in the late evening is on the day before
// in UTC.
func TestLocalDatesComeFromTheApplication(t *testing.T) {
	pool := migrated(t)
	settings(t, pool)
	const export = "Activity ID,Activity Date,Activity Name,Activity Type,Elapsed Time,Distance\n" +
		`5,"Oct 7, 2022, 3:19:20 AM",Run,Run,1800,5` + "\n"
	const date = `SELECT max(a->>'date') FROM river.river_job, jsonb_array_elements(args->'activities') AS a WHERE job_is_newest(river_job.id)`
	if _, err := pool.Exec(t.Context(), `CREATE FUNCTION job_is_newest(bigint) RETURNS boolean LANGUAGE sql AS 'SELECT $1 = max(id) FROM river.river_job'`); err != nil {
		t.Fatal(err)
	}
	const unknown = "activities.csv: no time zone is known, so dates are those of UTC"
	for _, c := range []struct {
		args  []string
		want  string
		warns bool
	}{
		{[]string{"--user", "7"}, "2022-10-06", false},
		{[]string{"--user", "7", "--timezone", "Europe/Berlin"}, "2022-10-07", false},
		{[]string{"--user", "12"}, "2022-10-07", true},
	} {
		got := enqueue(t, append(append([]string{"ingest"}, c.args...), file(t, "activities.csv", export))...)
		got.want(t, 0, "enqueued 1 activity")
		if strings.Contains(got.stderr, unknown) != c.warns {
			t.Errorf("stderr with %v = %q, want %q in it: %v", c.args, got.stderr, unknown, c.warns)
		}
		if got := query[string](t, pool, date); got != c.want {
			t.Errorf("date with %v = %s, want %s", c.args, got, c.want)
		}
	}
}
