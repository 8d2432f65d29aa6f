package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trainingmonkey/worker/dbpool"
)

// stored inserts three activities of user 7 on two days; only the first day has results.
func stored(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	_, err := pool.Exec(t.Context(), `
INSERT INTO activities (activity_id, user_id, date, total_load_miles, trimp, seven_day_avg_load, twentyeight_day_avg_load,
	seven_day_avg_trimp, twentyeight_day_avg_trimp, acute_chronic_ratio, trimp_acute_chronic_ratio, normalized_divergence)
VALUES (1, 7, '2025-01-10', 2.5, 40, 0.5, 0.125, 7, 1.75, 4, 4, 0),
       (2, 7, '2025-01-10', 1, 9, 0.5, 0.125, 7, 1.75, 4, 4, 0),
       (3, 7, '2025-03-20', 7.25, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)`)
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecalcRanges(t *testing.T) {
	pool := migrated(t)
	stored(t, pool)
	for args, want := range map[string]string{
		"":                                   `[{"to": "2025-03-20", "from": "2025-01-10", "user_id": 7}]`,
		"--from 2025-02-01":                  `[{"to": "2025-03-20", "from": "2025-02-01", "user_id": 7}]`,
		"--to 2025-02-01":                    `[{"to": "2025-02-01", "from": "2025-01-10", "user_id": 7}]`,
		"--from 2025-01-15 --to 2025-01-16":  `[{"to": "2025-01-16", "from": "2025-01-15", "user_id": 7}]`,
		"--from 2025-01-15 --to 2025-01-15 ": `[{"to": "2025-01-15", "from": "2025-01-15", "user_id": 7}]`,
	} {
		enqueue(t, append([]string{"recalc", "--user", "7"}, strings.Fields(args)...)...).want(t, 0, "enqueued the recalculation of user 7")
		if got := query[string](t, pool, `SELECT args->'ranges' FROM river.river_job WHERE kind = 'acwr_recalc' ORDER BY id DESC LIMIT 1`); got != want {
			t.Errorf("recalc %s enqueued %s, want %s", args, got, want)
		}
	}
}

func TestRecalcOfNothing(t *testing.T) {
	pool := migrated(t)
	stored(t, pool)
	enqueue(t, "recalc", "--user", "8").want(t, 2, "user 8 has no activities; put some in with: enqueue ingest --user 8 FILE")
	enqueue(t, "recalc", "--user", "7", "--from", "2025-04-01").want(t, 0, "nothing to do: user 7 has activities from 2025-01-10 to 2025-03-20")
	if n := query[int](t, pool, countJobs); n != 0 {
		t.Errorf("%d jobs were enqueued", n)
	}
}

func TestACWRTable(t *testing.T) {
	stored(t, migrated(t))
	got := enqueue(t, "acwr", "--user", "7", "--all")
	got.want(t, 0)
	var cells [][]string
	for line := range strings.Lines(got.stdout) {
		cells = append(cells, strings.Fields(line))
	}
	want := map[int][]string{
		0:  strings.Fields("date load 7 d 28 d ACWR TRIMP 7 d 28 d ACWR divergence"),
		1:  strings.Fields("2025-01-10 3.50 0.50 0.12 4.00 49.00 7.00 1.75 4.00 0.00 short_history"),
		2:  strings.Fields("2025-01-11 0.00 0.50 0.12 4.00 0.00 7.00 1.75 4.00 0.00 short_history"),
		8:  strings.Fields("2025-01-17 0.00 0.00 0.12 0.00 0.00 0.00 1.75 0.00 0.00 short_history"),
		70: strings.Fields("2025-03-20 7.25 1.04 0.26 4.00 0.00 0.00 0.00 0.00 2.00 * no_heart_rate"),
		71: strings.Fields("2025-03-21 0.00 1.04 0.26 4.00 0.00 0.00 0.00 0.00 2.00"),
	}
	if last := cells[len(cells)-4]; last[0] != today() || last[4] != "0.00" {
		t.Errorf("the last day is %v, want today with a ratio of 0", last)
	}
	want[len(cells)-3] = strings.Fields("* not stored yet, or stored otherwise: no recalculation of it waits; have it done with: enqueue recalc --user 7")
	want[len(cells)-2] = strings.Fields("short_history: the window begins before the first activity: ratios come out too high")
	want[len(cells)-1] = strings.Fields("no_heart_rate: an activity counts as a TRIMP of 0, because it has no heart rate")
	for line, fields := range want {
		if diff := cmp.Diff(fields, cells[line]); diff != "" {
			t.Errorf("line %d (-want +got):\n%s", line, diff)
		}
	}
	enqueue(t, "acwr", "--user", "8").want(t, 0, "user 8 has no activities; put some in with: enqueue ingest --user 8 FILE\n")
	enqueue(t, "acwr", "--user", "7", "--from", "2098-04-01").want(t, 0, "user 7 has no activities in this time\n")
}

func today() string { return time.Now().UTC().Format(time.DateOnly) }

// TestACWRUpToToday: an activity in the future hides no day, and is itself reported.
func TestACWRUpToToday(t *testing.T) {
	pool := migrated(t)
	stored(t, pool)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, total_load_miles) VALUES (4, 7, '2098-01-01', 9), (5, 8, '2098-01-01', 9), (6, 8, '2098-02-01', 9)`)
	got := enqueue(t, "acwr", "--user", "7", "--json")
	got.want(t, 0, `"date":"`+today()+`"`)
	if strings.Contains(got.stdout, "2098") {
		t.Error("the series does not end today")
	}
	if want := "1 activity is dated after today (" + today() + "): 2098-01-01; show with --to\n"; got.stderr != want {
		t.Errorf("stderr = %q, want %q", got.stderr, want)
	}
	got = enqueue(t, "acwr", "--user", "8")
	got.want(t, 0, "user 8 has no activities up to today\n")
	if want := "2 activities are dated after today (" + today() + "): 2098-01-01 to 2098-02-01; show with --to\n"; got.stderr != want {
		t.Errorf("stderr = %q, want %q", got.stderr, want)
	}
	got = enqueue(t, "acwr", "--user", "7", "--from", "2098-01-01", "--to", "2098-01-31")
	got.want(t, 0, "2098-01-01")
	if strings.Contains(got.stderr, "after today") {
		t.Errorf("a day within the requested dates is reported as left out: %s", got.stderr)
	}
}

// TestACWRJSON pins the names that scripts rely on.
func TestACWRJSON(t *testing.T) {
	stored(t, migrated(t))
	days := func(args ...string) (all []map[string]any) {
		t.Helper()
		got := enqueue(t, append([]string{"acwr", "--json", "--user"}, args...)...)
		got.want(t, 0)
		if err := json.Unmarshal([]byte(got.stdout), &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	all := days("7")
	if len(all) < 70 || all[len(all)-1]["date"] != today() {
		t.Fatalf("%d days to %v, want the last to be today", len(all), all[len(all)-1]["date"])
	}
	want := []map[string]any{
		{
			"date": "2025-01-10", "activities": 2.0, "total_load_miles": 3.5, "trimp": 49.0,
			"seven_day_avg_load": 0.5, "twentyeight_day_avg_load": 0.125, "seven_day_avg_trimp": 7.0, "twentyeight_day_avg_trimp": 1.75,
			"acute_chronic_ratio": 4.0, "trimp_acute_chronic_ratio": 4.0, "normalized_divergence": 0.0, "stale": false,
			"quality": []any{"short_history"},
		},
		{
			"date": "2025-03-20", "activities": 1.0, "total_load_miles": 7.25, "trimp": 0.0,
			"seven_day_avg_load": 1.0357143, "twentyeight_day_avg_load": 0.25892857, "seven_day_avg_trimp": 0.0, "twentyeight_day_avg_trimp": 0.0,
			"acute_chronic_ratio": 4.0, "trimp_acute_chronic_ratio": 0.0, "normalized_divergence": 2.0, "stale": true,
			"quality": []any{"no_heart_rate"},
		},
	}
	if diff := cmp.Diff(want, []map[string]any{all[0], all[69]}); diff != "" {
		t.Errorf("acwr --json (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[:1], days("7", "--from", "2025-01-10", "--to", "2025-01-10")); diff != "" {
		t.Errorf("acwr --json with dates (-want +got):\n%s", diff)
	}
	if got := days("8"); got == nil || len(got) > 0 {
		t.Errorf("acwr --json of an unknown user = %v, want []", got)
	}
}
