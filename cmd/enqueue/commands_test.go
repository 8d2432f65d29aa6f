package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/internal/cli"
)

// TestIngestSaysWhatBecameOfActivities: the first import stores sixty; the second has
// one that changed, one more and one of another user, and says so.
func TestIngestSaysWhatBecameOfActivities(t *testing.T) {
	pool := migrated(t)
	working(t, pool)
	path := sixtyDays(t)
	enqueue(t, "ingest", "--wait", path).want(t, 0, "stored, with their results\n60 new, 0 changed, 0 unchanged, 0 rejected\n")
	enqueue(t, "ingest", "--wait", path).want(t, 0, "0 new, 0 changed, 60 unchanged, 0 rejected\n")
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date) VALUES (1000, 9, '2025-01-01')`)
	more := file(t, "more.ndjson", `{"activity_id": 1, "user_id": 7, "date": "2025-01-01", "total_load_miles": 6}
{"activity_id": 50, "user_id": 7, "date": "2025-03-10", "total_load_miles": 5}
{"activity_id": 100, "user_id": 7, "date": "2025-04-01", "total_load_miles": 5}
{"activity_id": 1000, "user_id": 7, "date": "2025-04-01", "total_load_miles": 5}
`)
	got := enqueue(t, "ingest", "--wait", "--json", more)
	var result ingested
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil || got.code != 1 {
		t.Fatalf("exit code %d, %s, %v", got.code, got.stdout, err)
	}
	if said := result.outcome(); said != "1 new, 1 changed, 1 unchanged, 1 rejected" || result.Activities != 4 || len(result.JobIDs) != 1 || *result.FailedJobs != 0 {
		t.Errorf("%s, %+v", said, result)
	}
}

// TestWaitSaysWhyNothingHappens: a paused queue is not reported as a missing worker.
func TestWaitSaysWhyNothingHappens(t *testing.T) {
	pool := migrated(t)
	waiting := func() string {
		ctx, cancel := context.WithTimeout(t.Context(), idleNotice+2*time.Second)
		defer cancel()
		return enqueueFrom(t, ctx, strings.NewReader(good), "ingest", "--wait", "-").stderr
	}
	if said := waiting(); !strings.Contains(said, "nothing happens: no worker is alive; start one with: worker run\n") {
		t.Errorf("without a worker: %s", said)
	}
	execute(t, pool, `INSERT INTO river.river_queue (name, paused_at, updated_at) VALUES ('ingest_bulk', now(), now()), ('recalc', now(), now())`)
	working(t, pool)
	if said := waiting(); !strings.Contains(said, "nothing happens: jobs wait in ingest_bulk, paused; go on with: enqueue queues resume ingest_bulk\n") {
		t.Errorf("with a paused queue: %s", said)
	}
}

// TestACWRShowsEightWeeks: unless more is requested.
func TestACWRShowsEightWeeks(t *testing.T) {
	pool := migrated(t)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, total_load_miles) VALUES (1, 7, (now() AT TIME ZONE 'UTC')::date - 99, 5)`)
	days := func(args ...string) int {
		got := enqueue(t, append([]string{"acwr", "--user", "7"}, args...)...)
		got.want(t, 0)
		return strings.Count(got.stdout, " 0.00\n") + strings.Count(got.stdout, " 0.00 short_history\n") + strings.Count(got.stdout, " 2.00\n") + strings.Count(got.stdout, " 2.00 short_history\n") + strings.Count(got.stdout, "2.00 * no_heart") +
			strings.Count(got.stdout, " short_history no_heart_rate\n")
	}
	if n := days(); n != 56 {
		t.Errorf("%d days are shown, want 56", n)
	}
	enqueue(t, "acwr", "--user", "7").want(t, 0, "(44 earlier days are not shown; show them with --all)\n")
	last := query[string](t, pool, `SELECT date::text FROM activities`)
	enqueue(t, "acwr", "--user", "7").want(t, 0, "(no activity since "+last+"; show the weeks up to it with --to "+last+")\n")
	if got := enqueue(t, "acwr", "--user", "7", "--to", last); got.code != 0 || strings.Contains(got.stdout, "no activity since") || !strings.Contains(got.stdout, last) {
		t.Errorf("acwr --to the last activity: %+v", got)
	}
	if n := days("--all"); n != 100 {
		t.Errorf("--all shows %d days, want 100", n)
	}
}

func TestLongArgsAreFolded(t *testing.T) {
	pool := migrated(t)
	execute(t, pool, `INSERT INTO river.river_job (kind, queue, args, max_attempts)
		SELECT 'activity_ingest', 'ingest', jsonb_build_object('activities', jsonb_agg(jsonb_build_object('activity_id', i))), 25 FROM generate_series(1, 1000) AS i`)
	got := enqueue(t, "jobs", "show", "1")
	got.want(t, 0, "… 2964 more lines; see all with --json\n")
	if n := strings.Count(got.stdout, "\n"); n > 50 {
		t.Errorf("%d lines are printed", n)
	}
}

func TestVersionAndTokensThatAreNotConfigured(t *testing.T) {
	migrated(t)
	enqueue(t, "version").want(t, 0, cli.Version())
	enqueue(t, "tokens", "status").want(t, 0, "not set here: TMWORKER_TOKEN_KEYS, TMWORKER_TOKENS_CLIENT_SECRET, tokens.client_id; a worker with these settings refreshes no tokens\n")
}

// TestPrintedAdviceWorks: the commands that findings print run unchanged.
func TestPrintedAdviceWorks(t *testing.T) {
	operated(t)
	said := enqueue(t, "status").stdout
	for _, advice := range []string{"rejects retry --all", "jobs retry --state discarded", "jobs list --state cancelled", "jobs retry --state cancelled"} {
		if !strings.Contains(said, "enqueue "+advice) {
			t.Errorf("status does not recommend enqueue %s:\n%s", advice, said)
		}
		if got := enqueue(t, strings.Fields(advice)...); got.code != 0 {
			t.Errorf("enqueue %s = %+v", advice, got)
		}
	}
}
