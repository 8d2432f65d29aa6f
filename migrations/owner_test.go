package migrations_test

import (
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestGrantWorkChecksItsOutcome: who migrates may not grant the use of the schema, which
// PostgreSQL answers with a warning, nor the reading of another owner's table, which is an
// error. Nothing is granted until their owner has, and then everything is.
func TestGrantWorkChecksItsOutcome(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	pool := dbtest.Open(t, address)
	migrator, owner := openAsOwner(t, pool, address)
	execute(t, pool, `REVOKE ALL ON SCHEMA public FROM PUBLIC; CREATE SCHEMA river AUTHORIZATION `+migrator+`; CREATE TABLE user_settings (id integer PRIMARY KEY)`)
	role := strings.Replace(migrator, "owner", "worker", 1)
	execute(t, pool, `CREATE ROLE `+role)
	dropRole(t, pool, role)
	if _, err := migrations.Up(t.Context(), owner.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	may := strings.ReplaceAll(`SELECT concat_ws(' ', has_table_privilege($1, 'activities', 'UPDATE'), has_schema_privilege($1, 'public', 'USAGE'), has_table_privilege($1, 'user_settings', 'SELECT'))`, "$1", "'"+role+"'")
	left := `: GRANT USAGE ON SCHEMA public TO "` + role + `"; GRANT SELECT ON TABLE user_settings TO "` + role + `"; then repeat this`
	if _, err := migrations.GrantWork(t.Context(), owner.Pool, dbtest.RiverSchema, role); err == nil || !strings.HasSuffix(err.Error(), left) {
		t.Errorf("GrantWork() = %v, want %s", err, left)
	}
	if got := text(t, pool, may); got != "f f f" {
		t.Errorf("after it failed, the role may %s, want nothing", got)
	}
	execute(t, pool, strings.TrimSuffix(strings.TrimPrefix(left, ": "), "; then repeat this"))
	if _, err := migrations.GrantWork(t.Context(), owner.Pool, dbtest.RiverSchema, role); err != nil {
		t.Errorf("GrantWork() after the owner granted the rest = %v", err)
	}
	if got := text(t, pool, may); got != "t t t" {
		t.Errorf("the role may %s, want everything", got)
	}
}

// TestGrantEnqueueChecksItsOutcome: who migrates may not grant the use of the schema, which
// PostgreSQL answers with a warning, nor the call of another owner's function, which is an
// error. Nothing is granted until their owner has. Another owner's user_settings stay unread.
func TestGrantEnqueueChecksItsOutcome(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	pool := dbtest.Open(t, address)
	migrator, owner := openAsOwner(t, pool, address)
	execute(t, pool, `REVOKE ALL ON SCHEMA public FROM PUBLIC; CREATE SCHEMA river AUTHORIZATION `+migrator+`; CREATE TABLE user_settings (id integer PRIMARY KEY, timezone text)`)
	role := strings.Replace(migrator, "owner", "enqueuer", 1)
	execute(t, pool, `CREATE ROLE `+role)
	dropRole(t, pool, role)
	if _, err := migrations.Up(t.Context(), owner.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	execute(t, pool, `ALTER FUNCTION river.job_status(bigint[]) OWNER TO CURRENT_USER; ALTER FUNCTION river.purge_athlete(integer, interval) OWNER TO CURRENT_USER`)
	may := strings.ReplaceAll(`SELECT concat_ws(' ', has_schema_privilege($1, 'public', 'USAGE'), has_schema_privilege($1, 'river', 'USAGE'), has_function_privilege($1, 'river.enqueue_acwr_recalc(integer, date, date, integer)', 'EXECUTE'),
		has_column_privilege($1, 'activities', 'acute_chronic_ratio', 'SELECT'), has_column_privilege($1, 'user_settings', 'timezone', 'SELECT'))`, "$1", "'"+role+"'")
	const left = `: GRANT EXECUTE ON FUNCTION river.job_status(bigint[]) TO "{role}"; GRANT USAGE ON SCHEMA public TO "{role}"; then repeat this`
	want := strings.ReplaceAll(left, "{role}", role)
	if _, err := migrations.GrantEnqueue(t.Context(), owner.Pool, dbtest.RiverSchema, role); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("GrantEnqueue() = %v, want %s", err, want)
	}
	purge := `: GRANT EXECUTE ON FUNCTION river.purge_athlete(integer,interval) TO "` + role + `"; then repeat this`
	if _, err := migrations.GrantPurge(t.Context(), owner.Pool, dbtest.RiverSchema, role); err == nil || !strings.HasSuffix(err.Error(), purge) {
		t.Errorf("GrantPurge() = %v, want %s", err, purge)
	}
	if got := text(t, pool, may); got != "f f f f f" {
		t.Errorf("after they failed, the role may %s, want nothing", got)
	}
	execute(t, pool, strings.TrimSuffix(strings.TrimPrefix(want, ": "), "; then repeat this"))
	if _, err := migrations.GrantEnqueue(t.Context(), owner.Pool, dbtest.RiverSchema, role); err != nil {
		t.Errorf("GrantEnqueue() after the owner granted the rest = %v", err)
	}
	if got := text(t, pool, may); got != "t t t t f" {
		t.Errorf("the role may %s, want everything but another owner's settings", got)
	}
}

// TestSchemasWithoutUsage: a role that may not use a schema does not read that the database
// is not migrated, or that another table would be made, but which GRANT it lacks.
func TestSchemasWithoutUsage(t *testing.T) {
	t.Parallel()
	address := dbtest.MigratedURL(t)
	pool := dbtest.Open(t, address)
	role, worker := openAsOwner(t, pool, address)
	if _, err := migrations.GrantWork(t.Context(), pool.Pool, dbtest.RiverSchema, role); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ revoke, schemas string }{
		{`REVOKE USAGE ON SCHEMA public FROM PUBLIC, ` + role, "public"},
		{`REVOKE USAGE ON SCHEMA river FROM ` + role, "river"},
		{`REVOKE USAGE ON SCHEMA public, river FROM PUBLIC, ` + role, "public, river"},
		{`ALTER SCHEMA public RENAME TO "app, Main"; ALTER ROLE ` + role + ` SET search_path = "$user", "app, Main"; REVOKE USAGE ON SCHEMA "app, Main" FROM ` + role, `"app, Main"`},
	} {
		execute(t, pool, c.revoke)
		worker := dbtest.Open(t, worker.Config().ConnString()) // which reads the role's search_path
		grant := "GRANT USAGE ON SCHEMA " + c.schemas + " TO " + role
		want := "role " + role + " lacks USAGE on schema " + c.schemas + "; as its owner: " + grant + "; a worker's role gets all that it needs with: worker migrate up --worker-role " + role
		if err := migrations.Check(t.Context(), worker.Pool, dbtest.RiverSchema); err == nil || err.Error() != want {
			t.Errorf("Check() after %s = %v, want %s", c.revoke, err, want)
		}
		_, err := migrations.Plan(t.Context(), worker.Pool, dbtest.RiverSchema)
		if err == nil || !strings.Contains(err.Error(), "GRANT USAGE ON SCHEMA ") || strings.Contains(err.Error(), "ALTER ROLE") {
			t.Errorf("Plan() after %s = %v, want the GRANT", c.revoke, err)
		}
		execute(t, pool, grant)
		if err := migrations.Check(t.Context(), worker.Pool, dbtest.RiverSchema); err != nil {
			t.Errorf("Check() after %s = %v", grant, err)
		}
	}
}

// TestUpWithoutCreateOnTheDatabase: another role creates the schema, and the owner of
// the tables, who could not, migrates.
func TestUpWithoutCreateOnTheDatabase(t *testing.T) {
	t.Parallel()
	address := dbtest.New(t)
	pool := dbtest.Open(t, address)
	role, owner := openAsOwner(t, pool, address)
	if _, err := migrations.Up(t.Context(), owner.Pool, dbtest.RiverSchema); err == nil || !strings.Contains(err.Error(), `CREATE SCHEMA "river" AUTHORIZATION "`+role+`"`) {
		t.Errorf("without the schema: %v, want the statement that creates it", err)
	}
	execute(t, pool, `CREATE SCHEMA river AUTHORIZATION `+role)
	for range 2 {
		if _, err := migrations.Up(t.Context(), owner.Pool, dbtest.RiverSchema); err != nil {
			t.Fatal(err)
		}
	}
}
