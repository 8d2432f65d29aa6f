package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/oracle"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
	"github.com/trainingmonkey/worker/workers"
)

func TestIngestEnqueuesAllFilesInChunks(t *testing.T) {
	pool := migrated(t)
	first, second := file(t, "a.ndjson", manyActivities(7)), file(t, "b.json", "["+good+"]")
	enqueue(t, "ingest", "--chunk", "1000", first, second).want(t, 0, "enqueued 20501 activities of 1 user from 2025-09-28 in 21 jobs\n")
	if got := query[string](t, pool, `SELECT string_agg(jsonb_array_length(args->'activities')::text, ' ' ORDER BY id) FROM river.river_job`); got != strings.Repeat("1000 ", 20)+"501" {
		t.Errorf("activities in each job = %s, want 1000 each and 501 in the last", got)
	}
	if got := query[int](t, pool, `SELECT DISTINCT priority FROM river.river_job`); got != jobs.PriorityBulk {
		t.Errorf("priority = %d, want %d", got, jobs.PriorityBulk)
	}
}

func TestIngestWords(t *testing.T) {
	pool := migrated(t)
	one := enqueueFrom(t, t.Context(), strings.NewReader(good), "ingest", "--live", "-")
	one.want(t, 0, "enqueued 1 activity of 1 user from 2025-09-28 in 1 job\n")
	if got := query[int](t, pool, `SELECT priority FROM river.river_job`); got != jobs.PriorityLive {
		t.Errorf("priority = %d, want %d", got, jobs.PriorityLive)
	}
	two := good + `{"activity_id":2,"user_id":8,"date":"2025-09-30"}` + "\n" + `{"activity_id":3,"user_id":8,"date":"2025-09-29","type":"Yoga"}`
	enqueueFrom(t, t.Context(), strings.NewReader(two), "ingest", "-").
		want(t, 0, "enqueued 2 activities of 2 users from 2025-09-28 to 2025-09-30 (left out 1 without training load) in 1 job\n")
	enqueueFrom(t, t.Context(), strings.NewReader("[]"), "ingest", "--wait", "-").want(t, 0, "enqueued 0 activities in 0 jobs\n")
}

func TestSkipInvalidEnqueuesTheRest(t *testing.T) {
	pool := migrated(t)
	const bad = `{"activity_id":0,"user_id":7,"date":"2025-09-28"}` + "\n"
	path := file(t, "a.ndjson", good+strings.Repeat(bad, maxReported+5)+"{\n"+strings.Replace(good, `"activity_id":1`, `"activity_id":2`, 1))
	got := enqueue(t, "ingest", "--skip-invalid", path)
	got.want(t, 0, "enqueued 2 activities of 1 user from 2025-09-28 (left out 26 invalid) in 1 job\n")
	if n := query[int](t, pool, countActivities); n != 2 {
		t.Errorf("%d activities were enqueued, want 2", n)
	}
	if !strings.Contains(got.stderr, "skipped: "+path+":2: activity_id: must be a positive integer") ||
		strings.Count(got.stderr, "skipped: ") != maxReported || !strings.HasSuffix(got.stderr, "skipped 6 more invalid activities\n") {
		t.Errorf("stderr does not report %d skipped activities and that there are 6 more:\n%s", maxReported, got.stderr)
	}
}

// TestSkipInvalidStopsAtWhatIsNoRecord has the errors that --skip-invalid does not skip.
func TestSkipInvalidStopsAtWhatIsNoRecord(t *testing.T) {
	pool := migrated(t)
	for content, want := range map[string]string{
		good + strings.Replace(good, `"user_id":7`, `"user_id":8`, 1): ":2: user_id: belongs to another user: is 8, but --user is 7",
		"[" + good: "the file ends within the list",
		"":         "is empty",
	} {
		enqueue(t, "ingest", "--skip-invalid", "--user", "7", file(t, "a", content)).want(t, 2, want, "nothing was enqueued")
	}
	if n := query[int](t, pool, countJobs); n != 0 {
		t.Errorf("%d jobs were enqueued", n)
	}
}

// TestDryRunListsImplausible: implausible activities are enqueued unchanged, and listed.
func TestDryRunListsImplausible(t *testing.T) {
	t.Setenv("DATABASE_URL", nowhere)
	content := good + `{"activity_id":2,"user_id":7,"date":"2098-01-01","total_load_miles":5}
{"activity_id":3,"user_id":7,"date":"2025-09-29","sport_type":"swimming","distance_miles":559,"duration_minutes":20,"total_load_miles":2237}
`
	today := time.Now().UTC().Format(time.DateOnly)
	enqueue(t, "ingest", "--dry-run", file(t, "a.ndjson", content)).want(t, 0,
		"would enqueue 3 activities of 1 user from 2025-09-28 to 2098-01-01 (2 implausible)\n"+
			"implausible, and taken as they are:\n"+
			"  activity 2 of user 7 on 2098-01-01: a date after today, "+today+"\n"+
			"  activity 3 of user 7 on 2025-09-29: a load of 2237 miles is more than 550; a distance of 559 miles is more than 93.6; a speed of 1677 mph is more than 5.7\n")
	many := strings.Repeat(strings.SplitAfter(content, "\n")[1], maxReported+5)
	got := enqueue(t, "ingest", "--dry-run", file(t, "a.ndjson", many))
	got.want(t, 0, "(25 implausible)", "\n  and 5 more activities\n")
	if strings.Count(got.stdout, "a date after today") != maxReported {
		t.Errorf("the number listed is not %d:\n%s", maxReported, got.stdout)
	}
}

func TestDryRunNeedsNoDatabase(t *testing.T) {
	t.Setenv("DATABASE_URL", nowhere)
	enqueue(t, "ingest", "--dry-run", file(t, "a.ndjson", good)).want(t, 0, "would enqueue 1 activity of 1 user from 2025-09-28\n")
	enqueue(t, "ingest", "--dry-run", file(t, "a.ndjson", good+"{")).want(t, 2, "a.ndjson:2: malformed JSON")
	enqueue(t, "ingest", "--dry-run", "--skip-invalid", file(t, "a.ndjson", good+"{")).want(t, 0, "would enqueue 1 activity", "(left out 1 invalid)")
}

// TestDatabaseFaults: they are failures, not usage errors, and do not print the password.
func TestDatabaseFaults(t *testing.T) {
	empty := dbtest.New(t)
	path := file(t, "a.ndjson", good)
	for _, args := range [][]string{{"ingest", path}, {"recalc", "--user", "7"}, {"acwr", "--user", "7"}} {
		t.Run(args[0], func(t *testing.T) {
			t.Setenv("DATABASE_URL", nowhere)
			got := enqueue(t, args...)
			got.want(t, 1, "127.0.0.1:1", "DATABASE_URL")
			if strings.Contains(got.stdout+got.stderr, secret) {
				t.Error("the password was printed")
			}
			t.Setenv("DATABASE_URL", empty)
			enqueue(t, args...).want(t, 1, "not migrated", "worker migrate up")
		})
	}
}

// working works the queues of pool until the test ends.
func working(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	workingAs(t, pool, config.Default())
}

func workingAs(t *testing.T, pool *dbpool.Pool, c config.Config) {
	t.Helper()
	service, err := workers.New(t.Context(), pool, c, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- service.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil && !errors.Is(err, context.Canceled) { // stopped before it began
			t.Error(err)
		}
	})
}

func TestWaitUntilEveryACWRIsUpToDate(t *testing.T) {
	pool := migrated(t)
	working(t, pool)
	const files = "../../test/endtoend/testdata/strava_export_runner.csv"
	got := enqueue(t, "ingest", "--user", "7", "--timezone", "US/Pacific", "--wait", files)
	got.want(t, 0, "enqueued 610 activities of 1 user from 2022-09-30 to 2025-01-08 (1 implausible) in 7 jobs\n", "stored, with their results\n")
	wrong, total, err := oracle.Check(t.Context(), pool)
	if err != nil || total > 0 {
		t.Fatalf("oracle: %d rows are wrong, %v, %v", total, wrong, err)
	}
	if n := query[int](t, pool, `SELECT count(*) FROM activities`); n != 610 {
		t.Errorf("%d rows, want 610", n)
	}
	enqueue(t, "recalc", "--user", "7", "--wait").want(t, 0, "the results of user 7 are written\n")
	// enqueue accepts another user's activity, and the worker rejects it.
	if _, err := pool.Exec(t.Context(), `INSERT INTO activities (activity_id, user_id, date) VALUES (1, 9, '2025-09-28')`); err != nil {
		t.Fatal(err)
	}
	rejected := enqueue(t, "ingest", "--wait", file(t, "a.ndjson", good))
	if rejected.code != 1 || rejected.stderr != "error: 1 activity was rejected; see: enqueue rejects list\n" {
		t.Errorf("waiting for a rejected activity = %+v, want code 1 and how to list the reasons", rejected)
	}
}

// TestInterruptedWaitLeavesTheJobs interrupts the wait while no worker runs.
func TestInterruptedWaitLeavesTheJobs(t *testing.T) {
	pool := migrated(t)
	ctx, interrupt := context.WithCancel(t.Context())
	var stderr bytes.Buffer
	stdout := writerFunc(func(p []byte) (int, error) {
		interrupt() // "enqueued …" is written after the commit
		return len(p), nil
	})
	err := run(ctx, []string{"ingest", "--wait", "-"}, strings.NewReader(good), stdout, &stderr)
	if err == nil || !strings.Contains(err.Error(), "the jobs stay enqueued") {
		t.Errorf("run = %v, want an error that the jobs stay enqueued", err)
	}
	if n := query[int](t, pool, countActivities); n != 1 {
		t.Errorf("%d activities are enqueued, want 1", n)
	}
}

// TestInterruptedReadingEnqueuesNothing interrupts between two activities.
func TestInterruptedReadingEnqueuesNothing(t *testing.T) {
	pool := migrated(t)
	ctx, interrupt := context.WithCancel(t.Context())
	in := io.MultiReader(strings.NewReader(manyActivities(7)), readerFunc(func([]byte) (int, error) {
		interrupt()
		return 0, io.EOF
	}))
	enqueueFrom(t, ctx, in, "ingest", "-").want(t, 1, "nothing was enqueued")
	if n := query[int](t, pool, countJobs); n != 0 {
		t.Errorf("%d jobs were enqueued", n)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestUnorderedFile: jobs are in the order of dates, and of two versions of an activity
// the file's last one wins, although its date is earlier.
func TestUnorderedFile(t *testing.T) {
	pool := migrated(t)
	line := func(user, id int, date string) string {
		return fmt.Sprintf(`{"activity_id":%d,"user_id":%d,"date":%q,"total_load_miles":5}`, id, user, date)
	}
	unordered := strings.Join([]string{
		line(8, 20, "2025-09-01"), line(7, 4, "2025-09-04"), line(7, 1, "2025-09-05"), line(7, 3, "2025-09-03"), line(7, 2, "2025-09-02"), line(7, 1, "2025-09-01"),
	}, "\n")
	enqueue(t, "ingest", "--chunk", "1", file(t, "a.ndjson", unordered)).want(t, 0, "enqueued 6 activities of 2 users")
	const inOrder = `SELECT string_agg(concat_ws(' ', activity->>'activity_id', right(activity->>'date', 2)), ', ' ORDER BY id)
		FROM river.river_job, jsonb_array_elements(args->'activities') AS activity`
	if got, want := query[string](t, pool, inOrder), "1 05, 1 01, 2 02, 3 03, 4 04, 20 01"; got != want {
		t.Errorf("ids and days in the order of jobs = %s, want %s", got, want)
	}
}
