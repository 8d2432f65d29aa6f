package main

import (
	"strings"
	"testing"
)

func TestTRIMPIsRecomputed(t *testing.T) {
	pool := migrated(t)
	execute(t, pool, `CREATE TABLE user_settings (id integer PRIMARY KEY, resting_hr integer, max_hr integer, gender text)`)
	execute(t, pool, `INSERT INTO user_settings VALUES (7, 50, 180, 'M'), (8, 200, 180, 'M')`)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, duration_minutes, avg_heart_rate, trimp, trimp_calculation_method)
		VALUES (1, 7, '2025-03-01', 60, 150, 99, 'average'), (2, 7, '2025-03-02', 60, 150, 98, 'stream'), (3, 7, '2025-03-03', NULL, 150, 97, 'average')`)
	execute(t, pool, `INSERT INTO river.river_job (args, kind, queue, max_attempts) VALUES ('{"activities": [{"activity_id": 4, "user_id": 7, "date": "2025-03-01"}]}', 'activity_ingest', 'ingest', 25)`)
	const trimps = `SELECT string_agg(trimp::text, ' ' ORDER BY activity_id) FROM activities`
	enqueue(t, "trimp", "--user", "7", "--gender", "female").want(t, 0, "resting heart rate 50, maximum 180, female", "activity 1 on 2025-03-01: TRIMP 99 → 106.73")
	preview := enqueue(t, "trimp", "--user", "7")
	preview.want(t, 0, "resting heart rate 50, maximum 180, male\nactivity 1 on 2025-03-01: TRIMP 99 → 129.36\n",
		"left as they are: 1 activity without a heart rate or a duration", "1 of 2 activities with a TRIMP from the average heart rate would change; nothing was done. Do it with --yes")
	if !strings.Contains(preview.stderr, "1 import of the user still waits") {
		t.Errorf("stderr %q, want a warning that an import waits", preview.stderr)
	}
	if got := query[string](t, pool, trimps); got != "99 98 97" {
		t.Errorf("the preview changed TRIMPs to %s", got)
	}
	enqueue(t, "trimp", "--user", "7", "--yes").want(t, 0, "changed; enqueued their recalculation in 1 job")
	if got := query[string](t, pool, trimps); got != "129.36 98 97" {
		t.Errorf("TRIMPs %s", got)
	}
	if got := query[string](t, pool, `SELECT (args->'ranges')::text FROM river.river_job WHERE kind = 'acwr_recalc'`); got != `[{"to": "2025-03-01", "from": "2025-03-01", "user_id": 7}]` {
		t.Errorf("recalculates %s", got)
	}
	enqueue(t, "trimp", "--user", "7", "--yes").want(t, 0, "0 of 2 activities with a TRIMP from the average heart rate would change: nothing to do")
	enqueue(t, "trimp", "--user", "7", "--from", "2025-03-02").want(t, 0, "0 of 1 activity")
	enqueue(t, "trimp", "--user", "8").want(t, 2, "user_settings of user 8: resting heart rate must lie between")
	for args, want := range map[string]string{
		"": "--user is required", "--user 7 --gender x": "--gender must be M, F", "--user 7 --resting-hr 300": "resting heart rate must lie",
		"--user 7 --from 2025-02-30": "--from must be a date", "--user 7 --from 2025-03-02 --to 2025-03-01": "lies before",
	} {
		enqueue(t, append([]string{"trimp"}, strings.Fields(args)...)...).want(t, 2, want)
	}
}

func TestImplausibleActivitiesAreListed(t *testing.T) {
	pool := migrated(t)
	enqueue(t, "athlete", "implausible", "--user", "7").want(t, 0, "no such activities")
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, sport_type, distance_miles, elevation_gain_feet, duration_minutes, total_load_miles)
		VALUES (1, 7, '2025-03-01', 'running', 40, 0, 60, 40), (2, 7, '2025-03-02', 'running', 8, 300, 60, 8.4), (3, 7, '2998-03-02', NULL, NULL, NULL, NULL, 600),
		       (4, 8, '2025-03-01', 'running', 40, 0, 60, 40), (5, 7, '2025-03-03', 'cycling', 30, 0, 60, 10)`)
	got := enqueue(t, "athlete", "implausible", "--user", "7")
	got.want(t, 0, "ID  DATE        SPORT    IMPLAUSIBLE\n", " 1  2025-03-01  running  a speed of 40 mph is more than 13.3\n", "a date after today, ", "a load of 600 miles is more than 550\n")
	if lines := strings.Count(got.stdout, "\n"); lines != 3 || strings.Index(got.stdout, "2998-03-02") > strings.Index(got.stdout, "2025-03-01") {
		t.Errorf("listed, want the newest of two first:\n%s", got.stdout)
	}
	enqueue(t, "athlete", "implausible", "--user", "7", "--limit", "1", "--json").want(t, 0, `[{"activity_id":3,"date":"2998-03-02","sport_type":"","distance_miles":null,`)
	enqueue(t, "athlete", "implausible").want(t, 2, "--user is required")
	enqueue(t, "athlete", "implausible", "--user", "7", "--limit", "0").want(t, 2, "--limit")
}

// TestRowsWithNULLsAreListed: a row without an id is shown without one, and rows without a
// date, or with one that no job can name, prevent no command.
func TestRowsWithNULLsAreListed(t *testing.T) {
	pool := migrated(t)
	execute(t, pool, `ALTER TABLE activities DROP CONSTRAINT activities_pkey, ALTER COLUMN activity_id DROP NOT NULL, ALTER COLUMN date DROP NOT NULL`)
	execute(t, pool, `CREATE UNIQUE INDEX ON activities (activity_id)`)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, sport_type, distance_miles, elevation_gain_feet, duration_minutes, total_load_miles)
		VALUES (NULL, 7, '2025-03-01', 'running', 40, 0, 60, 40), (1, 7, NULL, 'running', 40, 0, 60, 40), (2, 7, 'infinity', 'running', 40, 0, 60, 40)`)
	enqueue(t, "athlete", "implausible", "--user", "7").want(t, 0, "  2025-03-01  running  a speed of 40 mph is more than 13.3\n")
	enqueue(t, "athlete", "implausible", "--user", "7", "--json").want(t, 0, `[{"activity_id":null,"date":"2025-03-01",`)
	enqueue(t, "acwr", "--compare").want(t, 0, "1 of 1 row differs, 1 of them never computed")
	enqueue(t, "acwr", "--compare", "--json").want(t, 0, `{"activity_id":null,"user_id":7,"date":"2025-03-01",`)
	enqueue(t, "recalc", "--user", "7").want(t, 0, "enqueued the recalculation of user 7, 2025-03-01 to 2025-03-01, as job ")
}
