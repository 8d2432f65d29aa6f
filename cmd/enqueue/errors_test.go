package main

import (
	"context"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/test/commandtest"
)

// TestErrorsAreSaidOnce: each in full, for every kind of error.
func TestErrorsAreSaidOnce(t *testing.T) {
	pool := operated(t)
	database, err := url.Parse(os.Getenv("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*url.URL)) string {
		changed := *database
		change(&changed)
		return changed.String()
	}
	const check = "\ncheck that the server runs and that DATABASE_URL (or the PG* variables) is correct\n"
	at := ` at ` + database.Host + ` as ` + database.User.Username()
	badFile := file(t, "bad.ndjson", `{"activity_id": 1, "user_id": 7, "date": "x"}`)
	badConfig := file(t, "bad.yaml", "batching:\n  loops: -4\n")
	for _, c := range []struct {
		about, url, args string
		code             int
		want             string // all of stderr
	}{
		{"server away", "postgres://someone:" + secret + "@127.0.0.1:1/nothing", "status", 1, `error: connect to database "nothing" at 127.0.0.1:1 as someone: connection refused` + check},
		{"unknown database", with(func(u *url.URL) { u.Path = "/nothing" }), "status", 1, `error: connect to database "nothing"` + at + `: FATAL: database "nothing" does not exist (SQLSTATE 3D000)` + check},
		{"database that is not migrated", with(func(u *url.URL) { u.Path = "/template1" }), "status", 1, "error: the database is not migrated: worker tables at 0 of "},
		{"address", "postgres://%zz", "status", 2, "error: DATABASE_URL or a PG* variable: the database's address is not valid: "},
		{"flag", "", "status --wtch", 2, "error: unknown flag: --wtch; see: enqueue status --help\n"},
		{"value of a flag", "", "jobs list --state broken", 2, "error: --state must be one of available, cancelled, completed, discarded, pending, retryable, running, scheduled, got \"broken\"\n"},
		{"name in a flag", "", "ingest --format xml x", 2, "error: --format must be one of auto, ndjson, json, strava-api, strava-export, got \"xml\"\n"},
		{"command", "", "statsu", 2, "error: unknown command \"statsu\" for \"enqueue\"; see: enqueue --help\n"},
		{"missing file", "", "ingest nowhere.json", 2, "error: open nowhere.json: no such file or directory\nnothing was enqueued\n"},
		{"file", "", "ingest " + badFile, 2, "error: " + badFile + ":1: date: must be a date that exists, as YYYY-MM-DD, got \"x\"\nnothing was enqueued\n"},
		{"missing configuration", "", "status --config nowhere.yaml", 2, "error: configuration: open nowhere.yaml: no such file or directory\n"},
		{"configuration", "", "status --config " + badConfig, 2, "error: " + badConfig + ":2: batching.loops: must be a whole number from 1 to 64, got \"-4\"\n"},
		{"user", "", "recalc --user 99", 2, "error: user 99 has no activities; put some in with: enqueue ingest --user 99 FILE\n"},
		{"job", "", "jobs show 99", 1, "error: job 99: no such row; finished jobs are removed after a while\n"},
		{"jobs", "", "jobs retry 2 99", 1, "error: nothing was done\njob 2 is running and cannot be retried\njob 99: no such row; finished jobs are removed after a while\n"},
		{"reject", "", "rejects show 99", 1, "error: reject 99: no such row\n"},
		{"rejects", "", "rejects retry 2", 1, "error: 1 activity stays rejected\nreject 2: date: must be a date that exists, as YYYY-MM-DD, got \"yesterday\"\n"},
		{"queue", "", "queues pause nothing", 1, "error: pause queue \"nothing\": no worker has ever served a queue of this name; see: enqueue queues list\n"},
		{"backfill", "", "backfill status 99", 1, "error: backfill 99: no such backfill\n"},
	} {
		t.Run(c.about, func(t *testing.T) {
			if c.url != "" {
				t.Setenv("DATABASE_URL", c.url)
			}
			got := enqueue(t, strings.Fields(c.args)...)
			if got.code != c.code || !strings.HasPrefix(got.stderr, c.want) {
				t.Errorf("exit code %d, want %d\n%s, want\n%s", got.code, c.code, got.stderr, c.want)
			}
			commandtest.SaidOnce(t, got.stdout, got.stderr)
		})
	}

	t.Run("wrong password", func(t *testing.T) {
		role := database.User.Username()
		t.Setenv("DATABASE_URL", with(func(u *url.URL) { u.User = url.UserPassword(role, "wrong") }))
		got := enqueue(t, "status")
		commandtest.SaidOnce(t, got.stdout, got.stderr)
		if want := `error: connect to database "` + database.Path[1:] + `"` + at + `: FATAL: password authentication failed for user "` + role + `" (SQLSTATE 28P01)` + check; got.stderr != want {
			t.Errorf("%s, want\n%s", got.stderr, want)
		}
	})
	t.Run("paused queue and an interrupt", func(t *testing.T) {
		execute(t, pool, `UPDATE river.river_queue SET paused_at = now() WHERE name = 'ingest_bulk'`)
		ctx, interrupt := context.WithTimeout(t.Context(), idleNotice+2*time.Second)
		defer interrupt()
		got := enqueueFrom(t, ctx, strings.NewReader(good), "ingest", "--wait", "-")
		if want := "nothing happens: jobs wait in ingest_bulk, paused; go on with: enqueue queues resume ingest_bulk\n" +
			"error: no longer waiting; the jobs stay enqueued and are worked all the same\n"; got.code != 1 || !strings.HasSuffix(got.stderr, want) {
			t.Errorf("exit code %d, %s, want %s", got.code, got.stderr, want)
		}
		commandtest.SaidOnce(t, got.stdout, got.stderr)
	})
	t.Run("an interrupt before the database answers", func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		interrupt()
		got := enqueueFrom(t, ctx, strings.NewReader(""), "status")
		if want := `connect to database "` + database.Path[1:] + `"` + at + ": interrupted\n"; got.code != 1 || got.stderr != want {
			t.Errorf("exit code %d, %s, want %s", got.code, got.stderr, want)
		}
	})
}
