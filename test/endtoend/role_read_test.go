package endtoend

import (
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestRoleThatMayOnlyRead: it sees what a database has and lacks, before it is migrated,
// behind this version, and up to date.
func TestRoleThatMayOnlyRead(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	pool := dbtest.Open(t, url)
	role, mine := createRole(t, pool, url, "reader")
	execute(t, pool, `CREATE TABLE activities (activity_id bigint PRIMARY KEY, user_id integer, date date); INSERT INTO activities VALUES (1, 7, '2025-01-01')`)
	may := func(grants, status, plan string) {
		t.Helper()
		execute(t, pool, strings.ReplaceAll(grants, "{role}", role))
		for command, says := range map[string]string{"status": status, "up --plan": plan} {
			out, errs, code := commands.Run(t, mine, "worker", append([]string{"migrate"}, strings.Fields(command)...)...)
			if code != 0 || !strings.Contains(out, says) || strings.Contains(out+errs, "--worker-role") || strings.Contains(out+errs, "denied") {
				t.Errorf("migrate %s of a role that may only read = %d, want 0 and %q:\n%s%s", command, code, says, out, errs)
			}
		}
	}
	may(`GRANT USAGE ON SCHEMA public TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}`, "run: worker migrate up", "would apply 00001")
	if _, errs, code := commands.Run(t, url, "worker", "migrate", "up"); code != 0 {
		t.Fatalf("migrate up = %d: %s", code, errs)
	}
	may(`GRANT USAGE ON SCHEMA river TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public, river TO {role}`, "up to date", "the database is up to date")
	may(`DELETE FROM worker_migrations WHERE version_id >= 23`, "run: worker migrate up", "would apply 00023")
}
