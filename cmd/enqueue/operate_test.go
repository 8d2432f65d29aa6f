package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
)

// operated returns a database with rows of every kind: jobs 1 to 8 of user 7, one in
// each state, and rejects 1 to 4.
func operated(t *testing.T) *dbpool.Pool {
	t.Helper()
	pool := migrated(t)
	refill(t, pool)
	return pool
}

// refill restores the rows of operated, whatever was done to them.
func refill(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	execute(t, pool, `TRUNCATE river.river_job, river.river_queue, ingest_rejects, ingest_versions, activities RESTART IDENTITY CASCADE`)
	execute(t, pool, `
INSERT INTO river.river_job (args, kind, queue, state, attempt, max_attempts, errors, finalized_at, created_at)
SELECT jsonb_build_object('activities', jsonb_build_array(jsonb_build_object('activity_id', place, 'user_id', 7, 'date', '2025-01-01'))),
       'activity_ingest', 'ingest', state, 1, CASE WHEN state = 'discarded' THEN 1 ELSE 25 END,
       CASE WHEN state IN ('retryable', 'discarded') THEN ARRAY[jsonb_build_object('attempt', 1, 'at', now(), 'error', E'bad\nluck \x1b[2J', 'trace', '')] END,
       CASE WHEN state IN ('completed', 'cancelled', 'discarded') THEN now() END, now() - interval '3 days'
FROM unnest('{available,running,retryable,scheduled,pending,completed,cancelled,discarded}'::river.river_job_state[]) WITH ORDINALITY AS states (state, place)
ORDER BY place`)
	execute(t, pool, `INSERT INTO river.river_queue (name, updated_at) VALUES ('ingest', now()), ('ingest_bulk', now()), ('backfill', now())`)
	execute(t, pool, `
INSERT INTO ingest_rejects (job_id, user_id, activity_id, payload, reason)
VALUES (100, 7, 31, '{"activity_id": 31, "user_id": 7, "date": "2025-01-01", "total_load_miles": 3}', 'refused by the database: injected'),
       (101, 7, 32, '{"activity_id": 32, "user_id": 7, "date": "yesterday"}', 'date: must be a date that exists'),
       (100, 8, 33, '{"activity_id": 33, "user_id": 8, "date": "2025-01-01", "total_load_miles": 1}', 'refused by the database: injected'),
       (102, 8, 33, '{"activity_id": 33, "user_id": 8, "date": "2025-01-01", "total_load_miles": 2}', 'refused by the database: injected')`)
}

func execute(t *testing.T, pool *dbpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

const jobStates = `SELECT string_agg(state::text, ' ' ORDER BY id) FROM river.river_job`

func TestJobsAreListedAndShown(t *testing.T) {
	operated(t)
	enqueue(t, "jobs", "list").want(t, 0, "ID  KIND             QUEUE   STATE      ATTEMPT  AGE     LAST ERROR\n",
		" 8  activity_ingest  ingest  discarded  1/1      3 days  bad luck [2J\n")
	for args, want := range map[string]string{
		"":                                 "8 7 6 5 4 3 2 1",
		"--limit 2":                        "8 7",
		"--state discarded,retryable":      "8 3",
		"--state running --user 7":         "2",
		"--user 8":                         "",
		"--kind acwr_recalc":               "",
		"--kind acwr_recalc,acwr_backfill": "",
		"--queue ingest --limit 1":         "8",
		"--queue backfill":                 "",
		"--older-than 48h --limit 1":       "8",
		"--older-than 96h":                 "",
	} {
		var jobs []struct{ ID int }
		got := enqueue(t, append([]string{"jobs", "list", "--json"}, strings.Fields(args)...)...)
		got.want(t, 0)
		if err := json.Unmarshal([]byte(got.stdout), &jobs); err != nil || jobs == nil {
			t.Fatalf("jobs list %s --json = %s, %v", args, got.stdout, err)
		}
		var ids []string
		for _, j := range jobs {
			ids = append(ids, fmt.Sprint(j.ID))
		}
		if diff := cmp.Diff(want, strings.Join(ids, " ")); diff != "" {
			t.Errorf("jobs list %s (-want +got):\n%s", args, diff)
		}
	}
	enqueue(t, "jobs", "show", "8").want(t, 0, "job 8: activity_ingest in queue ingest, discarded\nattempt 1 of 1, priority 1\n", "attempt 1 failed at ", ": bad luck [2J\n", `"user_id": 7`)
	enqueue(t, "jobs", "show", "99").want(t, 1, "job 99: no such row")
}

// TestAdminJSON pins the names that scripts rely on.
func TestAdminJSON(t *testing.T) {
	operated(t)
	job := "attempt attempted_at created_at error finalized_at id kind max_attempts priority queue scheduled_at state"
	reject := "activity_id id job_id reason rejected_at user_id"
	for _, c := range []struct{ args, keys string }{
		{"jobs list", job},
		{"jobs show 8", "args attempt attempted_at attempted_by created_at error errors finalized_at id kind max_attempts metadata priority queue scheduled_at state"},
		{"jobs retry 8", "action changed groups matched preview"},
		{"queues list", "name paused_at states"},
		{"rejects list", reject},
		{"rejects show 1", "activity_id id job_id payload reason rejected_at user_id"},
		{"rejects retry 1", "job_ids left matched preview retried"},
		{"rejects drop --all", "dropped matched preview"},
		{"status", "backfills cancelled clock_difference_seconds discarded findings freshness headline last_job_id processes queues reasons rejects retryable taken_at tokens writing"},
	} {
		got := enqueue(t, append(strings.Fields(c.args), "--json")...)
		got.want(t, 0)
		var one map[string]any
		if strings.HasPrefix(got.stdout, "[") {
			var list []map[string]any
			if err := json.Unmarshal([]byte(got.stdout), &list); err != nil || len(list) == 0 {
				t.Fatalf("%s --json = %s, %v", c.args, got.stdout, err)
			}
			one = list[0]
		} else if err := json.Unmarshal([]byte(got.stdout), &one); err != nil {
			t.Fatalf("%s --json = %s, %v", c.args, got.stdout, err)
		}
		var keys []string
		for key := range one {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		if diff := cmp.Diff(c.keys, strings.Join(keys, " ")); diff != "" {
			t.Errorf("%s --json (-want +got):\n%s", c.args, diff)
		}
	}
}

func TestJobsChangeState(t *testing.T) {
	const before = "available running retryable scheduled pending completed cancelled discarded"
	pool := operated(t)
	for _, c := range []struct{ args, said, after string }{
		{"retry 3 8", "retried 2 jobs\n", "available running available scheduled pending completed cancelled available"},
		{"retry --user 7", "4 jobs would be retried; nothing was done. Do it with --yes\n", before},
		{"retry --user 7 --yes", "retried 4 jobs\n", "available running available available pending completed available available"},
		{"retry --user 8 --yes", "retried 0 jobs\n", before},
		{"cancel --queue ingest", "5 jobs would be cancelled; nothing was done.", before},
		{"cancel --queue ingest --yes", "cancelled 5 jobs\n", "cancelled running cancelled cancelled cancelled completed cancelled discarded"},
		{"discard --state retryable --yes", "discarded 1 job\n", "available running discarded scheduled pending completed cancelled discarded"},
		{"discard --older-than 96h --yes", "discarded 0 jobs\n", before},
	} {
		refill(t, pool)
		enqueue(t, append([]string{"jobs"}, strings.Fields(c.args)...)...).want(t, 0, c.said)
		if got := query[string](t, pool, jobStates); got != c.after {
			t.Errorf("after %s:\n%s, want\n%s", c.args, got, c.after)
		}
	}

	refill(t, pool)
	enqueue(t, "jobs", "cancel", "2").want(t, 0, "cancelled 1 job")
	if !query[bool](t, pool, `SELECT metadata ? 'cancel_attempted_at' FROM river.river_job WHERE id = 2`) {
		t.Error("a running job was not asked to stop")
	}
	enqueue(t, "jobs", "retry", "8").want(t, 0)
	if got := query[string](t, pool, `SELECT concat(attempt, '/', max_attempts, finalized_at) FROM river.river_job WHERE id = 8`); got != "1/2" {
		t.Errorf("attempts of a retried job = %s, want 1/2", got)
	}
	enqueue(t, "jobs", "retry", "2", "3", "99").want(t, 1, "nothing was done\njob 2 is running and cannot be retried\njob 99: no such row")
}

// TestManyJobsAreRetriedAndWorked: the retry takes several transactions, and every job
// is worked.
func TestManyJobsAreRetriedAndWorked(t *testing.T) {
	pool := migrated(t)
	execute(t, pool, `
INSERT INTO river.river_job (args, kind, queue, state, attempt, max_attempts, finalized_at)
SELECT jsonb_build_object('activities', jsonb_build_array(jsonb_build_object('activity_id', n, 'user_id', 1 + n % 50, 'date', '2025-01-01', 'total_load_miles', 1))),
       'activity_ingest', 'ingest', 'discarded', 25, 25, now()
FROM generate_series(1, 1203) AS n`)
	enqueue(t, "jobs", "retry", "--state", "discarded", "--yes").want(t, 0, "retried 1203 jobs\n")
	working(t, pool)
	eventually(t, func() bool { return query[int](t, pool, `SELECT count(*) FROM activities`) == 1203 })
}

func eventually(t *testing.T, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(20 * time.Second); !holds(); {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal("condition not met within 20 s")
		}
	}
}

func TestQueuesPause(t *testing.T) {
	pool := operated(t)
	const paused = `SELECT coalesce(string_agg(name, ' ' ORDER BY name), '') FROM river.river_queue WHERE paused_at IS NOT NULL`
	enqueue(t, "queues", "pause", "backfill").want(t, 0, "queue backfill is paused\n")
	if got := query[string](t, pool, paused); got != "backfill" {
		t.Errorf("paused: %s", got)
	}
	enqueue(t, "queues", "list").want(t, 0, "QUEUE        STATE", "  AVAILABLE  RUNNING  RETRYABLE  SCHEDULED  OLDEST  CANCELLED  DISCARDED\n",
		"backfill     paused ", "          1        1          1          1  3 days          1          1\n")
	enqueue(t, "status").want(t, 0, "critical: No worker is alive. Start one: worker run.\n", "warning: Queue backfill is paused", "enqueue queues resume backfill", "live: ")
	enqueue(t, "queues", "pause", "*").want(t, 0, "all queues are paused\n")
	enqueue(t, "queues", "resume", "*").want(t, 0, "all queues are running\n")
	if got := query[string](t, pool, paused); got != "" {
		t.Errorf("paused: %s", got)
	}
	enqueue(t, "queues", "pause", "nonsense").want(t, 1, `pause queue "nonsense": no worker has ever served`)
}

func TestStatusOfALivingWorker(t *testing.T) {
	pool := migrated(t)
	working(t, pool)
	eventually(t, func() bool { return enqueue(t, "status", "--check").code == 0 })
	enqueue(t, "status", "--check").want(t, 0, "Fresh. No job waits.\n", "live: no job waits\n", "WORKER", "alive")

	ctx, cancel := context.WithTimeout(t.Context(), 1800*time.Millisecond)
	defer cancel()
	got := enqueueFrom(t, ctx, strings.NewReader(""), "status", "--watch", "--json", "--interval", "500ms")
	got.want(t, 0)
	if lines := strings.Split(strings.TrimSpace(got.stdout), "\n"); len(lines) < 2 || !json.Valid([]byte(lines[0])) || !json.Valid([]byte(lines[1])) {
		t.Errorf("status --watch --json = %s, want one object per line", got.stdout)
	}
}

func TestRejectsAreTriedAgain(t *testing.T) {
	pool := operated(t)
	enqueue(t, "rejects", "list", "--each").want(t, 0, "ID  JOB  USER  ACTIVITY  AGE", " 4  102     8        33", "refused by the database: injected\n")
	enqueue(t, "rejects", "show", "2").want(t, 0, "reject 2: activity 32 of user 7, from job 101", `"date": "yesterday"`)
	enqueue(t, "rejects", "retry", "--all").want(t, 0, "4 rejects of 2 users would be tried again; nothing was done. Do it with --yes\n")

	got := enqueue(t, "rejects", "retry", "--all", "--yes", "--json")
	var result retriedRejects
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.code != 1 || result.Retried != 2 || len(result.JobIDs) != 1 || len(result.Left) != 2 {
		t.Fatalf("exit code %d, %+v, %v", got.code, result, err)
	}
	for _, want := range []string{"2 activities stay rejected\n", `reject 2: date: must be a date that exists, as YYYY-MM-DD, got "yesterday"`, "reject 3: a newer version"} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("stderr = %s, want %s", got.stderr, want)
		}
	}
	const contents = `SELECT string_agg(a->>'activity_id' || ' ' || (a->>'total_load_miles'), ', ' ORDER BY a->>'activity_id') FROM river.river_job, jsonb_array_elements(args->'activities') AS a WHERE id > 8`
	if got := query[string](t, pool, contents); got != "31 3, 33 2" {
		t.Errorf("enqueued %s, want the newest version of each", got)
	}
	if got := query[string](t, pool, `SELECT string_agg(id::text, ' ' ORDER BY id) FROM ingest_rejects`); got != "2 3" {
		t.Errorf("rejects %s are left, want 2 and 3", got)
	}
	working(t, pool)
	eventually(t, func() bool {
		return query[int](t, pool, `SELECT count(*) FROM activities WHERE activity_id IN (31, 33)`) == 2
	})
	enqueue(t, "rejects", "drop", "2", "3").want(t, 0, "dropped 2 rejects\n")
	enqueue(t, "rejects", "list").want(t, 0, "no such rejects\n")
	enqueue(t, "rejects", "drop", "2").want(t, 1, "nothing was done: only 0 of 1 exist")
}

// TestSupersededRejectsStay: a new job would make the old version the newest.
func TestSupersededRejectsStay(t *testing.T) {
	pool := operated(t)
	for name, newer := range map[string]string{
		"stored":  `INSERT INTO activities (activity_id, user_id, date, ingest_job_id) VALUES (31, 7, '2025-01-01', 105)`,
		"deleted": `INSERT INTO ingest_versions (user_id, activity_id, job_id) VALUES (7, 31, 105)`,
		"waiting": `INSERT INTO river.river_job (id, args, kind, queue, max_attempts) VALUES (105, '{"activities": [{"user_id": 7, "activity_id": 31}]}', 'activity_ingest', 'ingest', 25)`,
	} {
		refill(t, pool)
		execute(t, pool, newer)
		got := enqueue(t, "rejects", "retry", "1")
		if got.code != 1 || !strings.Contains(got.stderr, "reject 1: a newer version of the activity has come since") {
			t.Errorf("%s: exit code %d, %s", name, got.code, got.stderr)
		}
		if n := query[int](t, pool, `SELECT count(*) FROM ingest_rejects WHERE id = 1`); n != 1 {
			t.Errorf("%s: the reject is gone", name)
		}
	}
}

func TestAdminUsage(t *testing.T) {
	t.Setenv("DATABASE_URL", nowhere)
	for args, want := range map[string]string{
		"jobs list --state broken --user 0": `--state must be one of available, cancelled, completed, discarded, pending, retryable, running, scheduled, got "broken"`,
		"jobs list --user -1":               "--user must be a positive id, got -1",
		"jobs list --older-than -1h":        "--older-than must be positive, got -1h0m0s",
		"jobs list --limit 0":               "--limit must lie between 1 and 10000, got 0",
		"jobs show x":                       `an ID is a positive number, got "x"`,
		"jobs retry":                        "say which: ids, or a filter; see: enqueue jobs retry --help",
		"jobs retry 1 --user 7":             "give ids or a filter, not both",
		"jobs retry --state running":        `--state must be one of retryable, scheduled, cancelled, discarded, got "running"`,
		"jobs discard 0":                    `an ID is a positive number, got "0"`,
		"jobs explode":                      `unknown command "explode" for "enqueue jobs"`,
		"queues pause":                      "accepts 1 arg",
		"rejects retry --yes":               "say which: ids, or a filter",
		"rejects drop 1 --older-than 1h":    "give ids or a filter, not both",
		"status --interval 1ms":             "--interval must be at least 500ms, got 1ms",
		"status --watch --check":            "--check checks once",
		"jobs list --older-than yesterday":  "yesterday",
	} {
		enqueue(t, strings.Fields(args)...).want(t, 2, want)
	}
	enqueue(t, "status").want(t, 1, "check that the server runs")
}

func TestShellCompletion(t *testing.T) {
	t.Parallel()
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		enqueue(t, "completion", shell).want(t, 0, "enqueue")
	}
	for args, want := range map[string]string{
		"jobs li":               "list\t",
		"jobs list --state dis": "discarded\n",
		"queues pause back":     "backfill\n",
	} {
		enqueue(t, append([]string{cobra.ShellCompRequestCmd}, strings.Fields(args)...)...).want(t, 0, want)
	}
}
