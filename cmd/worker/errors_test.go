package main

import (
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/test/commandtest"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestErrorsAreSaidOnce: each in full, for every kind of error.
func TestErrorsAreSaidOnce(t *testing.T) {
	const away = `connect to database "nothing" at 127.0.0.1:1 as someone: connection refused`
	empty := dbtest.New(t)
	for _, c := range []struct {
		about, url, args string
		code             int
		stdout, stderr   string // how it ends
	}{
		{"server away", nowhere, "run", 1, "", "error: " + away + "\ncheck that the server runs and that DATABASE_URL (or the PG* variables) is correct\n"},
		{"server away, migrating", nowhere, "migrate up", 1, "", "error: " + away + "\ncheck that the server runs and that DATABASE_URL (or the PG* variables) is correct\n"},
		{"server away, checked", nowhere, "check", 1, "FAIL  connection: " + away + "\n      why: without it a worker does nothing, and nothing else could be checked\n      cure: check that the server runs and that DATABASE_URL (or the PG* variables) is correct\n", "error: check failed\n"},
		{"server away, demonstrated", nowhere, "demo", 1, "", "error: create a database for the demo on the server of DATABASE_URL: " + away + "; unset DATABASE_URL to use a private server\n"},
		{"not migrated", empty, "run", 1, "", "; run: worker migrate up\n"},
		{"not migrated, checked", empty, "check", 1, "\n      why: jobs that need what is missing fail\n      cure: run: worker migrate up\n", "error: check failed\n"},
		{"unknown role", empty, "migrate up --enqueue-role nobody_at_all", 2, "the database is up to date\n", `error: --enqueue-role: grant enqueuing to role "nobody_at_all": the role does not exist; create it first: CREATE ROLE "nobody_at_all" LOGIN` + "\n"},
		{"flag", empty, "run --drian", 2, "", "error: unknown flag: --drian; see: worker run --help\n"},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Setenv("DATABASE_URL", c.url)
			got := worker(t, strings.Fields(c.args)...)
			if got.code != c.code || !strings.HasSuffix(got.stdout, c.stdout) || !strings.HasSuffix(got.stderr, c.stderr) {
				t.Errorf("exit code %d, want %d\nstdout:\n%s, want\n%s\nstderr:\n%s, want\n%s", got.code, c.code, got.stdout, c.stdout, got.stderr, c.stderr)
			}
			commandtest.SaidOnce(t, got.stdout, got.stderr)
		})
	}
}
