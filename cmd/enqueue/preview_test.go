package main

import (
	"strings"
	"testing"
)

const exportWithLoads = "Activity ID,Activity Date,Activity Name,Activity Type,Elapsed Time,Moving Time,Distance,Elevation Gain,Average Heart Rate\n"

// TestDryRunSaysWhatWouldChange imports the archive of an athlete in California over
// what the application stored: a run in Tokyo with the TRIMP of its stream, a renamed
// run, and another user's activity.
func TestDryRunSaysWhatWouldChange(t *testing.T) {
	pool := migrated(t)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, start_time, type, total_load_miles, trimp, trimp_calculation_method) VALUES
		(1, 7, '2025-09-29', '08:00:00', 'Run', 6.21, 91.5, 'stream'), (2, 7, '2025-09-20', '07:00:00', 'Run', 5, 0, NULL), (3, 8, '2025-09-20', NULL, 'Run', 5, 0, NULL), (4, 7, '2025-09-21', '09:00:00', 'Run', 9, 80, 'average')`)
	path := file(t, "activities.csv", exportWithLoads+
		`1,"Sep 28, 2025, 11:00:00 PM",Tokyo,Run,3600,3600,10,0,150`+"\n"+
		`2,"Sep 20, 2025, 2:00:00 PM",Renamed,Run,3600,3600,10,0,`+"\n"+
		`3,"Sep 20, 2025, 2:00:00 PM",Other,Run,3600,3600,10,0,`+"\n"+
		`4,"Sep 21, 2025, 4:00:00 PM",Stretching,Yoga,3600,3600,0,0,`+"\n"+
		`5,"Sep 22, 2025, 4:00:00 PM",New,Run,3600,3600,10,0,150`+"\n"+
		`6,"Sep 22, 2025, 4:00:00 PM",Never stored,Yoga,3600,3600,0,0,`+"\n")
	got := enqueue(t, "ingest", "--dry-run", "--user", "7", "--timezone", "US/Pacific", path)
	got.want(t, 0, `activity 2: load 5 → 6.21
activity 4: load 9 → 0 TRIMP 80 → 0
beside what is stored now: 1 new, 2 with another day or load, 1 with the same; 1 day and 1 TRIMP that are better stay
1 activity of other users would be rejected
would enqueue 4 activities of 1 user from 2025-09-20 to 2025-09-28 (left out 2 without training load)
`)
	if n := query[int](t, pool, countJobs); n != 0 {
		t.Errorf("%d jobs were enqueued", n)
	}

	// The import then changes just that.
	execute(t, pool, `DELETE FROM activities WHERE activity_id = 3`)
	working(t, pool)
	enqueue(t, "ingest", "--wait", "--user", "7", "--timezone", "US/Pacific", path).want(t, 0, "enqueued 4 activities")
	const rows = `SELECT string_agg(concat_ws(' ', activity_id, date, type, total_load_miles, trimp), '; ' ORDER BY activity_id) FROM activities`
	want := "1 2025-09-29 Run 6.21 91.5; 2 2025-09-20 Run 6.21 0; 3 2025-09-20 Run 6.21 0; 4 2025-09-21 Yoga 0 0; 5 2025-09-22 Run 6.21 138.72"
	if got := query[string](t, pool, rows); got != want {
		t.Errorf("rows are\n%s, want\n%s", got, want)
	}
}

func TestDryRunWithoutDatabaseSaysSo(t *testing.T) {
	t.Setenv("DATABASE_URL", nowhere)
	got := enqueue(t, "ingest", "--dry-run", file(t, "a.ndjson", good))
	got.want(t, 0, "would enqueue 1 activity of 1 user from 2025-09-28\n")
	if !strings.Contains(got.stderr, "what is stored was not compared: ") || strings.Contains(got.stderr, secret) {
		t.Errorf("stderr %q, want the reason why nothing was compared, without the password", got.stderr)
	}
}
