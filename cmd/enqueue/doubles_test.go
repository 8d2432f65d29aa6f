package main

import (
	"strconv"
	"strings"
	"testing"
)

// twice is an export with a run recorded by watch and phone, a run that is stored as
// another activity, and one that resembles none.
const twice = exportWithLoads +
	`21,"Sep 20, 2025, 2:00:00 PM",Watch,Run,3600,3600,10,0,` + "\n" +
	`22,"Sep 20, 2025, 2:03:00 PM",Phone,Run,3700,3500,10.2,0,` + "\n" +
	`23,"Sep 21, 2025, 2:00:00 PM",Uploaded again,Run,3600,3600,10,0,` + "\n" +
	`24,"Sep 22, 2025, 2:00:00 PM",Alone,Run,3600,3600,10,0,` + "\n"

const storedBefore = `INSERT INTO activities (activity_id, user_id, date, start_time, type, sport_type, distance_miles, duration_minutes, total_load_miles, trimp) VALUES
	(1, 7, '2025-09-21', '07:00:00', 'Run', 'running', 6.2, 60, 6.2, 0), (2, 8, '2025-09-22', '07:00:00', 'Run', 'running', 6.2, 60, 6.2, 0)`

// TestIngestCountsDoubles: against stored activities, and without a database among
// themselves; doubles list finds the same once they are stored.
func TestIngestCountsDoubles(t *testing.T) {
	pool := migrated(t)
	execute(t, pool, storedBefore)
	path := file(t, "activities.csv", twice)
	ingest := []string{"ingest", "--user", "7", "--timezone", "US/Pacific", path}
	enqueue(t, append(ingest, "--dry-run")...).want(t, 0, `would enqueue 4 activities of 1 user from 2025-09-20 to 2025-09-22 (2 likely doubles)
likely doubles, the same training as an earlier one of the day:
  activity 22 of user 7 on 2025-09-20: like activity 21
  activity 23 of user 7 on 2025-09-21: like activity 1
`)
	working(t, pool)
	enqueue(t, append(ingest, "--wait")...).want(t, 0, "enqueued 4 activities of 1 user from 2025-09-20 to 2025-09-22 (2 likely doubles) in 1 job")
	got := enqueue(t, "doubles", "list", "--user", "7")
	got.want(t, 0)
	want := "DATE ACTIVITY EARLIER START MILES MINUTES LOAD TRIMP COUNTS NAME; " +
		"2025-09-21 23 1 07:00:00 6.21 60 6.21 0 yes Uploaded again; 2025-09-20 22 21 07:03:00 6.34 58.33 6.34 0 yes Phone"
	var lines []string
	for line := range strings.Lines(got.stdout) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	if text := strings.Join(lines, "; "); text != want {
		t.Errorf("the list is\n%s, want\n%s", text, want)
	}
	execute(t, pool, `INSERT INTO acwr_settings (user_id, doubles) VALUES (7, 'ignore-later')`)
	enqueue(t, "doubles", "list", "--user", "7", "--to", "2025-09-20").want(t, 0, " no      Phone")
	enqueue(t, "doubles", "list", "--user", "8").want(t, 0, "user 8 has no likely doubles\n")
	enqueue(t, "doubles", "list", "--user", "7", "--from", "2025-09-22").want(t, 0, "user 7 has no likely doubles in this time\n")
	enqueue(t, "doubles", "list", "--user", "8", "--json").want(t, 0, "[]\n")

	t.Setenv("DATABASE_URL", nowhere)
	enqueue(t, append(ingest, "--dry-run")...).want(t, 0, "(1 likely double)\n", "  activity 22 of user 7 on 2025-09-20: like activity 21\n")
}

// TestIngestCountsDoublesAsTheyWillBe: several versions of an activity, and stored
// activities that the import changes or deletes.
func TestIngestCountsDoublesAsTheyWillBe(t *testing.T) {
	pool := migrated(t)
	execute(t, pool, storedBefore)
	const like = `"user_id":7,"date":"2025-09-21","start_time":"07:00:00","sport_type":"running","distance_miles":6.2,"duration_minutes":60}`
	for name, c := range map[string]struct{ input, want string }{
		"later":               {`{"activity_id":5,` + like, "(1 likely double)\nlikely doubles, the same training as an earlier one of the day:\n  activity 5 of user 7 on 2025-09-21: like activity 1\n"},
		"the stored one":      {`{"activity_id":1,` + like, "from 2025-09-21\n"},
		"rejected":            {`{"activity_id":2,` + like, "from 2025-09-21\n"},
		"the first is gone":   {`{"activity_id":1,"user_id":7,"date":"2025-09-21","deleted":true}` + "\n" + `{"activity_id":5,` + like, "from 2025-09-21\n"},
		"the first moves":     {`{"activity_id":5,` + like + "\n" + `{"activity_id":1,"user_id":7,"date":"2025-09-20","partial":true}`, "from 2025-09-20 to 2025-09-21\n"},
		"corrected":           {`{"activity_id":5,` + like + "\n" + `{"activity_id":5,"user_id":7,"date":"2025-09-21","partial":true,"start_time":"12:00:00"}`, "from 2025-09-21\n"},
		"the first is slower": {`{"activity_id":5,` + like + "\n" + `{"activity_id":1,"user_id":7,"date":"2025-09-21","partial":true,"duration_minutes":90}`, "from 2025-09-21\n"},
		"of another user":     {`{"activity_id":5,` + strings.Replace(like, "7", "9", 1), "from 2025-09-21\n"},
	} {
		got := enqueue(t, "ingest", "--dry-run", file(t, "a.ndjson", c.input+"\n"))
		if got.code != 0 || !strings.HasSuffix(got.stdout, c.want) {
			t.Errorf("%s: exit code %d, stdout is\n%s\nwant it to end with\n%s\n%s", name, got.code, got.stdout, c.want, got.stderr)
		}
	}
}

// TestIngestComparesMoreThanItHolds: more activities than are kept in memory for
// comparison.
func TestIngestComparesMoreThanItHolds(t *testing.T) {
	migrated(t)
	var input strings.Builder
	for id := range comparedAtOnce + 500 {
		day := "2025-01-01"
		if id >= 25 && id < comparedAtOnce+475 {
			day = "2025-02-" + []string{"10", "11"}[id%2]
		}
		start := `"07:00:00"`
		if day != "2025-01-01" {
			start = "null"
		}
		_, _ = input.WriteString(`{"activity_id":` + strconv.Itoa(id+1) + `,"user_id":7,"date":"` + day + `","start_time":` + start + `,"sport_type":"running","distance_miles":6.2,"duration_minutes":60}` + "\n")
	}
	enqueue(t, "ingest", "--dry-run", file(t, "a.ndjson", input.String())).want(t, 0, "(48 likely doubles)", "  and 28 more activities\n")
}

func TestDoublesUsage(t *testing.T) {
	t.Setenv("DATABASE_URL", nowhere)
	for _, c := range []struct{ args, want string }{
		{"list", "--user is required, a positive id"},
		{"list --user 7 --from yesterday", "--from must be a date that exists"},
		{"list --user 7 --limit 0", "--limit must lie between 1 and"},
	} {
		enqueue(t, append([]string{"doubles"}, strings.Fields(c.args)...)...).want(t, 2, c.want)
	}
	enqueue(t, "doubles", "list", "--user", "7").want(t, 1)
}
