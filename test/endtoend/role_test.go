package endtoend

import (
	"context"
	"crypto/rand"
	"net/url"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestWorkerRole runs everything as a role that owns nothing and has the privileges of
// `migrate up --worker-role`.
func TestWorkerRole(t *testing.T) {
	t.Parallel()
	owners := dbtest.MigratedURL(t)
	pool := dbtest.Open(t, owners)
	role := "worker_" + strings.ToLower(rand.Text()[:10]) // roles belong to the server, which other tests use too
	execute := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(context.WithoutCancel(t.Context()), sql); err != nil {
			t.Error(err)
		}
	}
	execute(`REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
	execute(`CREATE ROLE ` + role + ` LOGIN PASSWORD 'work'`)
	t.Cleanup(func() {
		execute(`DROP OWNED BY ` + role)
		execute(`DROP ROLE ` + role)
	})
	u, err := url.Parse(owners)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "work")
	mine := u.String()

	for _, command := range [][]string{{"check"}, {"run", "--drain"}} {
		if out, errs, code := commands.Run(t, mine, "worker", command...); code != 1 || !strings.Contains(out+errs, "worker migrate up --worker-role") {
			t.Errorf("worker %v without privileges = %d, want 1 and the command to run:\n%s%s", command, code, out, errs)
		}
	}
	for range 2 {
		if _, errs, code := commands.Run(t, owners, "worker", "migrate", "up", "--worker-role", role); code != 0 {
			t.Fatalf("migrate up --worker-role = %d: %s", code, errs)
		}
	}
	// The role has the privileges that the previous version granted: a missing one that
	// only commands need does not stop a worker.
	execute(`REVOKE ALL ON FUNCTION river.purge_athlete(integer, interval) FROM ` + role)
	for _, command := range [][]string{{"check"}, {"run", "--drain"}} {
		if out, errs, code := commands.Run(t, mine, "worker", command...); code != 0 || !strings.Contains(out+errs, "river.purge_athlete(integer,interval)") {
			t.Errorf("worker %v without a privilege of commands = %d, want 0 and a warning:\n%s%s", command, code, out, errs)
		}
	}
	if _, errs, code := commands.Run(t, owners, "worker", "migrate", "up", "--worker-role", role); code != 0 {
		t.Fatalf("migrate up --worker-role = %d: %s", code, errs)
	}
	for _, command := range []string{
		"worker check", "worker migrate status", "worker migrate up --plan",
		"enqueue ingest --user 7 --timezone US/Pacific " + absolute(t, "testdata/strava_export_runner.csv"), "worker run --drain",
		"enqueue backfill", "worker run --drain", "enqueue backfill list", "enqueue recalc --user 7 --from 2025-01-01 --to 2025-02-01", "worker run --drain",
		"enqueue acwr --compare --formula ewma", "enqueue acwr --user 7", "enqueue status", "enqueue jobs list", "enqueue rejects list",
		"enqueue queues pause ingest", "enqueue queues resume ingest", "enqueue tokens status",
		"enqueue athlete purge --user 9 --yes",
	} {
		name, args, _ := strings.Cut(command, " ")
		if out, errs, code := commands.Run(t, mine, name, strings.Fields(args)...); code != 0 {
			t.Errorf("%s = %d\n%s%s", command, code, out, errs)
		}
	}
	if got := query[int](t, pool, `SELECT count(*) FROM activities`); got != 610 || unfinished(t, pool) > 0 {
		t.Errorf("%d activities and %d unfinished jobs, want 610 and none", got, unfinished(t, pool))
	}
	if got := query[string](t, pool, `SELECT string_agg(DISTINCT kind, ' ' ORDER BY kind) FROM river.worker_throughput`); got != "activity_ingest acwr_backfill acwr_recalc" {
		t.Errorf("throughput is recorded for %q, want the kinds that were worked", got)
	}
	checkOracle(t, pool)

	execute(`ALTER TABLE activities ENABLE ROW LEVEL SECURITY`)
	execute(`CREATE POLICY some_rows ON activities USING (user_id < 5)`)
	if out, _, code := commands.Run(t, mine, "worker", "check"); code != 1 || !strings.Contains(out, "row-level security hides rows of table activities") {
		t.Errorf("worker check with hidden rows = %d, want 1:\n%s", code, out)
	}
	execute(`CREATE POLICY all_rows ON activities FOR SELECT TO ` + role + ` USING (true)`)
	if out, _, code := commands.Run(t, mine, "worker", "check"); code != 0 {
		t.Errorf("worker check with a policy for all rows = %d, want 0:\n%s", code, out)
	}
}
