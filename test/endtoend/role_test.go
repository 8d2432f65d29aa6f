package endtoend

import (
	"context"
	"crypto/rand"
	"net/url"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestWorkerRole works as a role that owns nothing and has the privileges of
// `migrate up --worker-role`, without them, with fewer, and under row-level security.
func TestWorkerRole(t *testing.T) {
	t.Parallel()
	owners := dbtest.MigratedURL(t)
	pool := dbtest.Open(t, owners)
	role, mine := createRole(t, pool, owners, "worker")
	execute := func(sql string) { t.Helper(); execute(t, pool, sql) }
	execute(`REVOKE CREATE ON SCHEMA public FROM PUBLIC`)

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
	if out, errs, code := commands.Run(t, mine, "worker", "check"); code != 0 || !strings.Contains(out, "GRANT pg_read_all_stats TO "+role) {
		t.Errorf("worker check of a role that does not see other roles' sessions = %d, want 0 and what shows them:\n%s%s", code, out, errs)
	}
	execute(`REVOKE USAGE ON SCHEMA public FROM PUBLIC, ` + role)
	for _, command := range [][]string{{"check"}, {"run", "--drain"}, {"migrate", "status"}, {"migrate", "up", "--plan"}} {
		if out, errs, code := commands.Run(t, mine, "worker", command...); code != 1 || !strings.Contains(strings.ReplaceAll(out+errs, `"`, ""), "GRANT USAGE ON SCHEMA public TO "+role) || strings.Contains(out+errs, "not migrated") {
			t.Errorf("worker %v without USAGE on the application's schema = %d, want 1 and the GRANT:\n%s%s", command, code, out, errs)
		}
	}
	execute(`GRANT USAGE ON SCHEMA public TO ` + role)
	for _, command := range []string{
		"enqueue ingest --user 7 --timezone US/Pacific " + absolute(t, "testdata/strava_export_runner.csv"), "worker run --drain",
		"enqueue backfill", "worker run --drain", "enqueue recalc --user 7 --from 2025-01-01 --to 2025-02-01", "worker run --drain",
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
	execute(`CREATE POLICY added_rows ON activities AS RESTRICTIVE FOR INSERT WITH CHECK (true)`)
	quoted := `"` + role + `"`
	cure := `CREATE POLICY worker_all_rows ON activities FOR ALL TO ` + quoted + ` USING (true) WITH CHECK (true)`
	refused := func(limited, cure string) {
		t.Helper()
		for _, command := range [][]string{{"check"}, {"run", "--drain"}} {
			out, errs, code := commands.Run(t, mine, "worker", command...)
			if code != 1 || !strings.Contains(out+errs, "row-level security limits role "+quoted+" to some rows: "+limited) || !strings.Contains(out+errs, cure) {
				t.Errorf("worker %v where policies limit %s = %d, want 1 and %s:\n%s%s", command, limited, code, cure, out, errs)
			}
		}
	}
	refused("SELECT, INSERT, UPDATE, DELETE ON TABLE activities", cure)
	execute(`CREATE POLICY read_rows ON activities FOR SELECT TO ` + role + ` USING (true)`)
	execute(`CREATE POLICY edited_rows ON activities FOR UPDATE TO ` + role + ` USING (true)`)
	refused("INSERT, DELETE ON TABLE activities", cure)
	execute(`ALTER POLICY edited_rows ON activities WITH CHECK (user_id < 5)`)
	refused("INSERT, UPDATE, DELETE ON TABLE activities", cure)
	execute(cure)
	execute(`CREATE POLICY "recent rows" ON activities AS RESTRICTIVE FOR DELETE USING (date > '2025-01-01')`)
	refused(`DELETE ON TABLE activities (policy "recent rows" is restrictive)`, `ALTER ROLE `+quoted+` BYPASSRLS`)
	execute(`DROP POLICY "recent rows" ON activities`)
	execute(`ALTER TABLE acwr_settings ENABLE ROW LEVEL SECURITY`)
	cure = `CREATE POLICY worker_all_rows ON acwr_settings FOR SELECT TO ` + quoted + ` USING (true)`
	refused("SELECT ON TABLE acwr_settings", cure)
	execute(cure)

	const edited = `SELECT activity_id FROM activities WHERE user_id = 7 ORDER BY date DESC LIMIT 1`
	execute(`UPDATE activities SET acute_chronic_ratio = NULL, trimp_acute_chronic_ratio = NULL, normalized_divergence = NULL WHERE user_id = 7`)
	execute(`SELECT river.enqueue_activity_ingest(jsonb_build_array(jsonb_build_object('activity_id', activity_id, 'user_id', 7, 'date', date, 'total_load_miles', 77.5)))
		FROM activities WHERE activity_id = (` + edited + `)`)
	execute(`SELECT river.enqueue_activity_ingest('[{"activity_id": 9, "user_id": 7, "date": "2025-01-02", "total_load_miles": 7.5}]')`)
	for _, command := range []string{"worker check", "enqueue backfill", "worker run --drain"} {
		name, args, _ := strings.Cut(command, " ")
		if out, errs, code := commands.Run(t, mine, name, strings.Fields(args)...); code != 0 {
			t.Errorf("%s with a policy for all rows = %d, want 0:\n%s%s", command, code, out, errs)
		}
	}
	if got := query[int](t, pool, `SELECT count(*) FROM activities WHERE activity_id = 9 OR total_load_miles = 77.5 AND activity_id = (`+edited+`)`); got != 2 {
		t.Errorf("%d of the edited and the added activity arrived, want both", got)
	}
	checkOracle(t, pool)
}

// createRole creates a role for the test, and returns its name and the URL as that role.
func createRole(t *testing.T, pool *dbpool.Pool, address, name string) (role, mine string) {
	t.Helper()
	role = name + "_" + strings.ToLower(rand.Text()[:10]) // roles belong to the server, which other tests use too
	execute(t, pool, `CREATE ROLE `+role+` LOGIN PASSWORD 'work'`)
	t.Cleanup(func() { execute(t, pool, `DROP OWNED BY `+role+` CASCADE; DROP ROLE `+role) })
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "work")
	return role, u.String()
}

func execute(t *testing.T, pool *dbpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(context.WithoutCancel(t.Context()), sql); err != nil {
		t.Fatal(err)
	}
}
