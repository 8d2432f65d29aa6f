package migrations_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// connectAsEnqueuer creates a role for the test, grants it enqueuing, and returns a
// connection as that role.
func connectAsEnqueuer(t *testing.T, pool *dbpool.Pool) (conn *pgx.Conn, role string) {
	t.Helper()
	role = "enqueuer_" + strings.ToLower(rand.Text()[:10]) // roles belong to the server, which other tests use too
	execute(t, pool, `CREATE ROLE `+role+` LOGIN PASSWORD 'enqueue'`)
	t.Cleanup(func() {
		if _, err := pool.Exec(context.WithoutCancel(t.Context()), `DROP OWNED BY `+role+` CASCADE; DROP ROLE `+role); err != nil {
			t.Error(err)
		}
	})
	config := pool.Config().ConnConfig
	config.User, config.Password = role, "enqueue"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	if _, err := conn.Exec(t.Context(), `SELECT river.enqueue_acwr_recalc(1, '2025-01-01', '2025-01-01')`); !refused(err) {
		t.Errorf("without a grant: %v, want that permission is denied", err)
	}
	for range 2 {
		if _, err := migrations.GrantEnqueue(t.Context(), pool.Pool, dbtest.RiverSchema, role); err != nil {
			t.Fatal(err)
		}
	}
	return conn, role
}

func refused(err error) bool {
	fault := (*pgconn.PgError)(nil)
	return errors.As(err, &fault) && fault.Code == "42501"
}

const enqueueBoth = `SELECT river.enqueue_activity_ingest('[{"activity_id": 5, "user_id": 7, "date": "2025-03-31"}]'::pg_catalog.jsonb),
	river.enqueue_activity_ingest('[{"activity_id": 5, "user_id": 7, "date": "2025-03-31"}]'),
	river.enqueue_acwr_recalc(7, '2025-03-01'::pg_catalog.date, '2025-03-02'::pg_catalog.date)`

func TestEnqueueRoleCanEnqueueAndNothingElse(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `REVOKE CREATE ON SCHEMA public FROM PUBLIC; INSERT INTO activities (activity_id, user_id, date) VALUES (1, 1, '2025-01-01')`)
	conn, _ := connectAsEnqueuer(t, pool)
	if _, err := conn.Exec(t.Context(), enqueueBoth); err != nil {
		t.Errorf("enqueuing: %v", err)
	}
	owner := text(t, pool, `SELECT quote_ident(current_user)`)
	attempts := []string{
		`CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'`,
		`CREATE FUNCTION river.enqueue_activity_ingest(jsonb) RETURNS int LANGUAGE sql AS 'SELECT 1'`,
		`CREATE OR REPLACE FUNCTION river.enqueue_acwr_recalc(integer, date, date, integer DEFAULT 1) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'`,
		`ALTER FUNCTION river.enqueue_activity_ingest(jsonb, integer) SET search_path = public`,
		`DROP FUNCTION river.enqueue_activity_ingest(jsonb, integer)`,
		`GRANT EXECUTE ON FUNCTION river.insert_worker_job(text, text, integer, jsonb) TO current_user`,
		`SELECT river.insert_worker_job('acwr_recalc', 'recalc', 1, '{}')`, `SELECT river.refused_texts('[]')`, `SELECT river.nearest_name('a', '{}')`,
		`SELECT river.purge_athlete(1)`, `SELECT river.purge_athlete(1, '0')`,
		`SELECT notes FROM activities`, `SELECT * FROM activities`, `SELECT max_heart_rate FROM activities`, `SELECT weight_lbs FROM activities`,
		`SELECT river.explain_reject('x')`, `SELECT river.in_rollout(1, 1)`, `UPDATE activities SET trimp = 1`, `UPDATE acwr_settings SET chronic_days = 40`,
		`CREATE OPERATOR public.= (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)`,
		`CREATE TABLE public.t (i int)`, `CREATE TABLE river.t (i int)`, `CREATE SCHEMA s`,
		`CREATE CAST (jsonb AS text) WITH INOUT AS IMPLICIT`,
		`SET ROLE ` + owner, `SET SESSION AUTHORIZATION ` + owner, `ALTER ROLE ` + owner + ` PASSWORD 'x'`, `SET session_replication_role = replica`,
		`SELECT setval('river.river_job_id_seq', 1)`, `SELECT nextval('river.river_job_id_seq')`,
		`ALTER TABLE activities DISABLE TRIGGER ALL`, `CREATE INDEX ON activities (date)`, `DROP SCHEMA river CASCADE`,
		`COPY activities TO PROGRAM 'cat'`, `SELECT pg_read_file('PG_VERSION')`,
	}
	tables, err := pgx.CollectRows(query(t, pool, `SELECT c.oid::regclass::text FROM pg_class c WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'river'::regnamespace)`), pgx.RowTo[string])
	if err != nil || len(tables) < 8 {
		t.Fatal(tables, err)
	}
	for _, table := range tables {
		if !slices.Contains([]string{"activities", "acwr_settings"}, table) { // acwr_series reads columns of these
			attempts = append(attempts, `SELECT FROM `+table)
		}
		attempts = append(attempts, `SELECT ctid FROM `+table, `INSERT INTO `+table+` DEFAULT VALUES`, `DELETE FROM `+table, `TRUNCATE `+table, `DO $$ BEGIN LOCK `+table+`; END $$`, `DROP TABLE `+table)
	}
	for _, attempt := range attempts {
		if _, err := conn.Exec(t.Context(), attempt); !refused(err) {
			t.Errorf("%s: %v, want that permission is denied", attempt, err)
		}
	}
	if got := text(t, pool, `SELECT string_agg(kind, ' ' ORDER BY id) FROM river.river_job`); got != "activity_ingest activity_ingest acwr_recalc" {
		t.Errorf("jobs: %s", got)
	}
}

// sqlOfReadme matches README.md's SQL about enqueuing and about results.
var sqlOfReadme = regexp.MustCompile("(?s)```sql\n(SELECT river.*?)```|`(SELECT \\* FROM acwr_series[^`]*)`|`(acwr_series\\([^`]*\\))`")

// TestEnqueueRoleCanDoWhatTheReadmeSays: by SQL it enqueues, queries the jobs' status,
// and reads the results. The tables are in a schema that is not open to everyone, nor are
// its functions, and the application's user_settings determine today.
func TestEnqueueRoleCanDoWhatTheReadmeSays(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `REVOKE ALL ON SCHEMA public FROM PUBLIC; REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public, river FROM PUBLIC`)
	execute(t, pool, `CREATE TABLE user_settings (id integer PRIMARY KEY, timezone text, strava_access_token text); INSERT INTO user_settings VALUES (7, 'Pacific/Kiritimati', 'secret')`)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, total_load_miles, acute_chronic_ratio) VALUES (1, 7, '2025-03-01', 5, 4)`)
	conn, _ := connectAsEnqueuer(t, pool)
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := ""
	for _, found := range sqlOfReadme.FindAllStringSubmatch(string(readme), -1) {
		statement := found[1] + found[2]
		if found[3] != "" {
			statement = "SELECT * FROM " + found[3]
		}
		ran += statement + "\n"
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
	for _, want := range []string{"enqueue_activity_ingest", "enqueue_acwr_recalc", "job_status", "acwr_series(7)", "acwr_series(7, '2025"} {
		if !strings.Contains(ran, want) {
			t.Errorf("README.md has no example of %s; ran %s", want, ran)
		}
	}
	var got string
	const today = `SELECT concat_ws(' ', (SELECT acute_chronic_ratio FROM acwr_series(7) WHERE date = '2025-03-01'), (SELECT acute_chronic_ratio FROM activities),
		(SELECT max(date) FROM acwr_series(7)) = (now() AT TIME ZONE 'Pacific/Kiritimati')::date, (SELECT string_agg(state, ' ') FROM river.job_status(ARRAY[1, 2, 3])))`
	if err := conn.QueryRow(t.Context(), today).Scan(&got); err != nil || got != "4 4 t queued queued unknown" {
		t.Errorf("the role reads %q, %v, want the ratios, the athlete's own day, and two jobs", got, err)
	}
	if _, err := conn.Exec(t.Context(), `SELECT strava_access_token FROM user_settings`); !refused(err) {
		t.Errorf("tokens: %v, want that permission is denied", err)
	}
}

// TestRolesThatMayEnqueueMayAsk: after migrating, without another grant.
func TestRolesThatMayEnqueueMayAsk(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	conn, role := connectAsEnqueuer(t, pool)
	execute(t, pool, `REVOKE EXECUTE ON FUNCTION river.job_status(bigint[]) FROM `+role+`; DELETE FROM worker_migrations WHERE version_id >= 22`)
	if _, err := conn.Exec(t.Context(), `SELECT river.job_status('{1}')`); !refused(err) {
		t.Fatalf("without a grant: %v, want that permission is denied", err)
	}
	if _, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `SELECT river.job_status('{1}')`); err != nil {
		t.Errorf("after migrating: %v", err)
	}
}

// TestPurgeRoleCanPurgeAndNothingElse: it can neither enqueue nor read what it removes.
func TestPurgeRoleCanPurgeAndNothingElse(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `REVOKE CREATE ON SCHEMA public FROM PUBLIC; INSERT INTO activities (activity_id, user_id, date) VALUES (1, 7, '2025-01-01'), (2, 8, '2025-01-01')`)
	conn, role := connectAsEnqueuer(t, pool)
	execute(t, pool, `DROP OWNED BY `+role)
	for range 2 {
		if _, err := migrations.GrantPurge(t.Context(), pool.Pool, dbtest.RiverSchema, role); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Exec(t.Context(), `SET trainingmonkey.worker = 'app'`); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := conn.QueryRow(t.Context(), `SELECT concat_ws(' ', river.purge_athlete(7)->'removed'->'activities', current_setting('trainingmonkey.worker'))`).Scan(&got); err != nil || got != "1 app" {
		t.Errorf("purging: %q, %v, want 1 activity and the setting as it was", got, err)
	}
	for _, attempt := range []string{
		enqueueBoth, `SELECT river.args_without_user('activity_ingest', '{}', 7)`, `SELECT FROM activities`, `DELETE FROM activities`,
		`SELECT FROM user_locks`, `UPDATE user_locks SET purged_through = NULL`, `SELECT FROM river.river_job`, `DELETE FROM user_tokens`,
	} {
		if _, err := conn.Exec(t.Context(), attempt); !refused(err) {
			t.Errorf("%s: %v, want that permission is denied", attempt, err)
		}
	}
	if got := text(t, pool, `SELECT string_agg(user_id::text, ' ') FROM activities`); got != "8" {
		t.Errorf("activities of users %s are left, want those of 8", got)
	}
}

// TestPurgeIsNotCaptured: a purged athlete's rows enqueue no recalculation.
func TestPurgeIsNotCaptured(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	if err := migrations.CaptureChanges(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	execute(t, pool, `SET LOCAL trainingmonkey.worker = 'on'; INSERT INTO activities (activity_id, user_id, date, total_load_miles) VALUES (1, 7, '2025-01-01', 5), (2, 8, '2025-01-01', 5)`)
	execute(t, pool, `SELECT river.purge_athlete(7); UPDATE activities SET total_load_miles = 6`)
	if got := text(t, pool, `SELECT string_agg(args->'ranges'->0->>'user_id', ' ') FROM river.river_job`); got != "8" {
		t.Errorf("recalculations of users %s, want 8", got)
	}
	execute(t, pool, `INSERT INTO acwr_settings (user_id, formula) VALUES (9, 'ewma')`)
	if got := text(t, pool, `SELECT count(*)::text FROM river.river_job`); got != "1" {
		t.Errorf("the settings of a user without activities enqueued something: %s jobs", got)
	}
}

func query(t *testing.T, pool *dbpool.Pool, sql string) pgx.Rows {
	t.Helper()
	rows, err := pool.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// shadows are objects that would run, or refuse rows, if the functions resolved names
// in a schema where their caller can create: {in} is public and then pg_temp.
const shadows = `
CREATE FUNCTION {in}.jsonb_typeof(jsonb) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed as %', current_user; END $$;
CREATE FUNCTION {in}.jsonb_array_length(jsonb) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed as %', current_user; END $$;
CREATE FUNCTION {in}.jsonb_build_object(text, jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed as %', current_user; END $$;
CREATE FUNCTION {in}.json_build_object(text, text) RETURNS json LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed as %', current_user; END $$;
CREATE FUNCTION {in}.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed as %', current_user; END $$;
CREATE FUNCTION {in}.format(text, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed as %', current_user; END $$;
CREATE FUNCTION {in}.make_date(integer, integer, integer) RETURNS date LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed as %', current_user; END $$;
CREATE FUNCTION {in}.to_char(date, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed as %', current_user; END $$;
CREATE FUNCTION {in}.hostile(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed as %', current_user; END $$;
CREATE FUNCTION {in}.hostile(jsonb, text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed as %', current_user; END $$;
CREATE FUNCTION {in}.hostile(integer, integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'shadowed as %', current_user; END $$;
CREATE OPERATOR {in}.~ (LEFTARG = text, RIGHTARG = text, FUNCTION = {in}.hostile);
CREATE OPERATOR {in}.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = {in}.hostile);
CREATE OPERATOR {in}.->> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = {in}.hostile);
CREATE OPERATOR {in}.> (LEFTARG = integer, RIGHTARG = integer, FUNCTION = {in}.hostile);
CREATE OPERATOR {in}.>= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = {in}.hostile);
CREATE DOMAIN {in}.text AS pg_catalog.text CHECK (false);
CREATE DOMAIN {in}.numeric AS pg_catalog.numeric CHECK (false);
CREATE DOMAIN {in}.int8 AS pg_catalog.int8 CHECK (false);
CREATE TABLE {in}.river_job (id bigint, args jsonb, kind pg_catalog.text, max_attempts int, priority int, queue pg_catalog.text);
CREATE TABLE {in}.pg_class (oid oid);`

func TestNothingThatACallerCreatesIsUsed(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"public", "pg_temp"} {
		pool := dbtest.Migrated(t)
		conn, role := connectAsEnqueuer(t, pool)
		execute(t, pool, `GRANT CREATE ON SCHEMA public TO `+role) // the default of PostgreSQL 14
		if _, err := conn.Exec(t.Context(), strings.ReplaceAll(shadows, "{in}", in)); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{in + `, pg_catalog`, in, `pg_temp, public, river, pg_catalog`, `''`} {
			for _, statement := range []string{`SET search_path = ` + path, enqueueBoth} {
				if _, err := conn.Exec(t.Context(), statement); err != nil {
					t.Errorf("shadows in %s, search_path %s: %s: %v", in, path, statement, err)
				}
			}
			_, err := conn.Exec(t.Context(), `SELECT river.enqueue_activity_ingest('[{"activity_id": 0}]'::pg_catalog.jsonb)`)
			if fault := (*pgconn.PgError)(nil); !errors.As(err, &fault) || !strings.HasPrefix(fault.Message, "activities[0]: activity_id: must be") {
				t.Errorf("shadows in %s, search_path %s: an invalid activity: %v", in, path, err)
			}
		}
		if got := text(t, pool, `SELECT count(*)::text FROM river.river_job`); got != "12" {
			t.Errorf("shadows in %s: %s jobs, want 12", in, got)
		}
		// The shadows do take effect in a function without its own search_path.
		execute(t, pool, `ALTER FUNCTION river.enqueue_activity_ingest(jsonb, integer) RESET search_path`)
		if _, err := conn.Exec(t.Context(), `SET search_path = `+in+`, pg_catalog; `+enqueueBoth); err == nil || !strings.Contains(err.Error(), "shadow") && !strings.Contains(err.Error(), "constraint") {
			t.Errorf("shadows in %s against an unguarded function: %v", in, err)
		}
	}
}

func TestGrantRefusals(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	for _, role := range []string{"nobody_of_that_name", "public", "none", `a"; DROP TABLE activities; --`, ""} {
		if _, err := migrations.GrantEnqueue(t.Context(), pool.Pool, dbtest.RiverSchema, role); !errors.Is(err, migrations.ErrNoRole) {
			t.Errorf("GrantEnqueue(%q) = %v, want ErrNoRole", role, err)
		}
	}
	_, role := connectAsEnqueuer(t, pool)
	for _, c := range []struct{ privilege, want string }{
		{`REVOKE CREATE ON SCHEMA public FROM PUBLIC`, ""},
		{`GRANT CREATE ON SCHEMA public TO PUBLIC`, `unless that is meant: REVOKE CREATE ON SCHEMA "public" FROM PUBLIC`},
	} {
		execute(t, pool, c.privilege)
		warning, err := migrations.GrantEnqueue(t.Context(), pool.Pool, dbtest.RiverSchema, role)
		if err != nil || !strings.HasSuffix(warning, c.want) || (warning == "") != (c.want == "") {
			t.Errorf("after %s: GrantEnqueue() = %q, %v, want %q", c.privilege, warning, err, c.want)
		}
	}
}

// openAsOwner creates a role that may create tables in public, and returns a pool as that role.
func openAsOwner(t *testing.T, pool *dbpool.Pool, address string) (role string, owner *dbpool.Pool) {
	t.Helper()
	role = "owner_" + strings.ToLower(rand.Text()[:10]) // roles belong to the server, which other tests use too
	execute(t, pool, `CREATE ROLE `+role+` LOGIN PASSWORD 'own'; GRANT USAGE, CREATE ON SCHEMA public TO `+role)
	dropRole(t, pool, role)
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "own")
	return role, dbtest.Open(t, u.String())
}

// dropRole drops a role with what it owns at the end of the test.
func dropRole(t *testing.T, pool *dbpool.Pool, role string) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := pool.Exec(context.WithoutCancel(t.Context()), `DROP OWNED BY `+role+` CASCADE; DROP ROLE `+role); err != nil {
			t.Error(err)
		}
	})
}
