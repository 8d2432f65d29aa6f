package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/doctor"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMigrate(t *testing.T) {
	t.Setenv("DATABASE_URL", dbtest.New(t))
	worker(t, "migrate", "status").want(t, 0, "run: worker migrate up")
	up := worker(t, "migrate", "up")
	up.want(t, 0, "applied river 1\n", "applied 00001_activities\n", "the database is up to date\n")
	if again := worker(t, "migrate", "up"); again.code != 0 || again.stdout != "the database is up to date\n" {
		t.Errorf("the second migrate up = %+v, want nothing applied", again)
	}
	status := worker(t, "migrate", "status")
	status.want(t, 0, "up to date")
	if strings.Contains(status.stdout, "run: ") {
		t.Errorf("status after up = %s, want nothing to run", status.stdout)
	}
	var got migrations.Status
	asJSON := worker(t, "migrate", "status", "--json")
	if err := json.Unmarshal([]byte(asJSON.stdout), &got); err != nil {
		t.Fatal(err)
	}
	for _, newest := range []string{fmt.Sprintf("applied %05d_", got.Worker.Current), fmt.Sprintf("applied river %d\n", got.River.Current)} {
		if got.Worker.Pending() || got.River.Pending() || !strings.Contains(up.stdout, newest) {
			t.Errorf("status --json = %s, want what was applied, %q of %s", asJSON.stdout, newest, up.stdout)
		}
	}
	for _, field := range []string{`"worker":{"current":`, `"river":{"current":`, `"newest":`} {
		if !strings.Contains(asJSON.stdout, field) {
			t.Errorf("status --json = %s, want %s in it", asJSON.stdout, field)
		}
	}
}

func TestMigratePlan(t *testing.T) {
	url := dbtest.New(t)
	t.Setenv("DATABASE_URL", url)
	worker(t, "migrate", "up", "--plan", "--enqueue-role", "x").want(t, 2, "--plan changes nothing; leave out --enqueue-role")
	pool := dbtest.Open(t, url)
	if _, err := pool.Exec(t.Context(), `CREATE TABLE activities (activity_id bigint PRIMARY KEY, user_id integer, date date)`); err != nil {
		t.Fatal(err)
	}
	plan := worker(t, "migrate", "up", "--plan")
	plan.want(t, 0,
		"would apply river 1: ", "would apply 00001_activities: add to activities, without rewriting it: name text, type text, ",
		"would apply 00002_ingest: create table ingest_rejects, ", "would apply 00003_user_date_index: build index activities_user_id_date_worker_idx on activities (user_id, date), CONCURRENTLY\n",
		"would apply 00005_enqueue: create function insert_worker_job, ", "nothing was changed; to do it: worker migrate up\n")
	var tables int
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace OR relname LIKE 'river%'`).Scan(&tables); err != nil || tables != 2 {
		t.Errorf("after --plan the database has %d tables and indexes, %v, want the table and its key", tables, err)
	}
	up := worker(t, "migrate", "up")
	if planned := strings.Count(plan.stdout, "would apply "); planned != strings.Count(up.stdout, "applied ") {
		t.Errorf("planned:\n%s\napplied:\n%s", plan.stdout, up.stdout)
	}
	if got := worker(t, "migrate", "up", "--plan"); got.code != 0 || got.stdout != "the database is up to date\n" {
		t.Errorf("--plan of a migrated database = %+v", got)
	}
	if _, err := pool.Exec(t.Context(), `INSERT INTO worker_migrations (version_id, is_applied) VALUES (999, true)`); err != nil {
		t.Fatal(err)
	}
	worker(t, "migrate", "up", "--plan").want(t, 1, "deploy that version or a newer one")
}

func TestMigrateEnqueueRole(t *testing.T) {
	url := dbtest.MigratedURL(t)
	t.Setenv("DATABASE_URL", url)
	worker(t, "migrate", "up", "--enqueue-role", "nobody_of_that_name").want(t, 2, `--enqueue-role: grant enqueuing to role "nobody_of_that_name": the role does not exist; create it first: CREATE ROLE`)
	pool := dbtest.Open(t, url)
	role := "grantee_" + strings.ToLower(rand.Text()[:10])
	execute := func(sql string) {
		if _, err := pool.Exec(context.WithoutCancel(t.Context()), sql); err != nil {
			t.Error(err)
		}
	}
	execute(`REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE ` + role)
	t.Cleanup(func() { execute(`DROP OWNED BY ` + role + `; DROP ROLE ` + role) })
	got := worker(t, "migrate", "up", "--enqueue-role", role)
	if want := fmt.Sprintf("the database is up to date\nrole %q may enqueue jobs\n", role); got.code != 0 || got.stdout != want {
		t.Errorf("migrate up --enqueue-role = %+v, want %s", got, want)
	}
	execute(`GRANT CREATE ON SCHEMA public TO ` + role)
	worker(t, "migrate", "up", "--enqueue-role", role).want(t, 0, "may enqueue jobs\nwarning: role ")
}

// findings runs check --json, and checks that its exit code agrees with its findings.
func findings(t *testing.T) map[string]doctor.Finding {
	t.Helper()
	got := worker(t, "check", "--json")
	var list []doctor.Finding
	if err := json.Unmarshal([]byte(got.stdout), &list); err != nil {
		t.Fatalf("check --json = %+v: %v", got, err)
	}
	failed := slices.ContainsFunc(list, func(f doctor.Finding) bool { return !f.OK })
	if code := map[bool]int{false: 0, true: 1}[failed]; got.code != code {
		t.Errorf("check --json: exit code = %d, want %d for %s", got.code, code, got.stdout)
	}
	named := map[string]doctor.Finding{}
	for _, f := range list {
		if !f.OK && (f.Why == "" || f.Cure == "") {
			t.Errorf("%+v, want why it matters and what to do", f)
		}
		named[f.Check] = f
	}
	return named
}

func TestCheck(t *testing.T) {
	url := dbtest.MigratedURL(t)
	t.Setenv("DATABASE_URL", url)
	worker(t, "check").want(t, 0, "ok    configuration: ", "ok    connection budget: ", "ok    connection: ", "ok    server: PostgreSQL ", "ok    migrations: up to date\n")
	for _, f := range findings(t) {
		if !f.OK {
			t.Errorf("check of a good database: %+v", f)
		}
	}
	for _, c := range []struct {
		about        string
		variable     string
		value        string
		check, fault string
	}{
		{"unmigrated", "DATABASE_URL", dbtest.New(t), "migrations", "run: worker migrate up"},
		{"unreachable", "DATABASE_URL", nowhere, "connection", "127.0.0.1:1"},
		{"no URL", "DATABASE_URL", "postgres://%zz", "connection", "DATABASE_URL"},
		{"budget", "TMWORKER_DATABASE_MAX_CONNS", "4", "connection budget", "set database.max_conns to at least"},
		{"open pages", "TMWORKER_OPERATIONS_LISTEN", ":8080", "operations", "set TMWORKER_OPERATIONS_USER and TMWORKER_OPERATIONS_PASSWORD"},
		{"server too small", "TMWORKER_DATABASE_MAX_CONNS", "1000", "server", "lower database.max_conns"},
	} {
		t.Run(c.about, func(t *testing.T) {
			t.Setenv(c.variable, c.value)
			worker(t, "check").want(t, 1, "FAIL  "+c.check+": ", c.fault, "error: check failed")
			for what, f := range findings(t) {
				if f.OK == (what == c.check) || (what == c.check && !strings.Contains(f.About+f.Cure, c.fault)) {
					t.Errorf("%+v, want only %q to fail, with %q", f, c.check, c.fault)
				}
			}
		})
	}
	pool := dbtest.Open(t, url)
	execute := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	execute(`INSERT INTO activities (activity_id, user_id, date, ingest_job_id) VALUES (1, 1, '2025-01-01', 900)`)
	worker(t, "check").want(t, 1, "FAIL  job ids: the ids of jobs went back: job 900 ", "      cure: worker migrate up")
	worker(t, "migrate", "up").want(t, 0, "the ids of jobs had gone back to 0; they go on beyond 900, and 0 waiting jobs have new ones\n")
	worker(t, "check").want(t, 0, "ok    job ids: ")
	execute(`UPDATE activities SET ingest_job_id = 1900`)
	worker(t, "run", "--drain").want(t, 0, "job ids had gone back; advanced them beyond the stored versions", `"beyond":1900`)
	worker(t, "check").want(t, 0, "ok    job ids: ")
	execute(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`)
	worker(t, "check").want(t, 1, "FAIL  read-write: transactions are read-only\n      why: ", "cure: ALTER ROLE ")
	execute(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()); END $$`)
	execute(`INSERT INTO river.river_migration (line, version) VALUES ('main', 99999)`)
	worker(t, "check").want(t, 1, "FAIL  migrations: ", "deploy that version or a newer one")
	worker(t, "run").want(t, 1, "deploy that version or a newer one")
}

func TestRun(t *testing.T) {
	t.Setenv("DATABASE_URL", dbtest.New(t))
	for _, args := range [][]string{{"run"}, {"run", "--drain"}} {
		worker(t, args...).want(t, 1, "not migrated", "worker migrate up")
	}
	if got := worker(t, "migrate", "status"); strings.Contains(got.stdout, "up to date") {
		t.Errorf("run migrated the database:\n%s", got.stdout)
	}
	worker(t, "migrate", "up").want(t, 0)
	worker(t, "run", "--drain").want(t, 0, `"msg":"stopped"`)
	workerUntil(t, `"msg":"working"`, "run").want(t, 0, `"msg":"stopped"`)
}

func TestRunWithoutServer(t *testing.T) {
	t.Setenv("DATABASE_URL", nowhere)
	for _, args := range []string{"run", "dev", "demo", "migrate up", "migrate status"} {
		worker(t, strings.Fields(args)...).want(t, 1, "127.0.0.1:1", "DATABASE_URL")
	}
}

// serverVersion returns "PostgreSQL 18.3", for example, by the server's number.
func serverVersion(t *testing.T, pool *dbpool.Pool) string {
	t.Helper()
	var number int
	if err := pool.QueryRow(t.Context(), `SELECT current_setting('server_version_num')::int`).Scan(&number); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("PostgreSQL %d.%d", number/10000, number%10000)
}

func TestDevOnDatabaseURL(t *testing.T) {
	url := dbtest.New(t)
	t.Setenv("DATABASE_URL", url)
	version := serverVersion(t, dbtest.Open(t, url))
	workerUntil(t, `"msg":"working"`, "dev").want(t, 0, "migrated "+version+", ", ", database ", "working until Ctrl-C\n")
	worker(t, "migrate", "status").want(t, 0, "up to date")
}

// TestDemo also checks that an existing database is left alone, wherever its URL names it.
func TestDemo(t *testing.T) {
	url := dbtest.MigratedURL(t)
	pool := dbtest.Open(t, url)
	t.Setenv("DATABASE_URL", url+"&dbname="+pool.Config().ConnConfig.Database)
	got := worker(t, "demo")
	got.want(t, 0, "a database of the demo's own is up and migrated: "+serverVersion(t, pool)+", ", "enqueued 2834 jobs", "ACWR, 2024-01-02 to 2025-12-31", "checked: all 7 values of all 2834 rows equal the SQL oracle\n")
	var rows, left int
	name := regexp.MustCompile(`worker_demo_[a-z0-9]+`).FindString(got.stdout)
	err := pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM activities) + (SELECT count(*) FROM river.river_job),
		(SELECT count(*) FROM pg_database WHERE datname = $1)`, name).Scan(&rows, &left)
	if err != nil || name == "" || rows > 0 || left > 0 {
		t.Errorf("after the demo in %q there are %d rows in another database and %d databases of its own, %v, want none", name, rows, left, err)
	}
}
