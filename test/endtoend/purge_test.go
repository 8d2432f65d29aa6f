package endtoend

import (
	"syscall"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestKilledPurge: rows that a killed purge removed stay removed, and the same command
// removes the rest.
func TestKilledPurge(t *testing.T) {
	t.Parallel()
	const n = 60_000
	url := dbtest.MigratedURL(t)
	pool := dbtest.Open(t, url)
	if _, err := pool.Exec(t.Context(), `INSERT INTO activities (activity_id, user_id, date) SELECT i, 7 + i % 2, '2025-01-01' FROM generate_series(1, 2 * $1::int) AS i`, n); err != nil {
		t.Fatal(err)
	}
	const left = `SELECT count(*) FROM activities WHERE user_id = 7`
	first := commands.Start(t, url, nil, "enqueue", "athlete", "purge", "--user", "7", "--yes")
	eventually(t, time.Minute, "a part is removed", func() bool { return query[int](t, pool, left) < n })
	first.Signal(t, syscall.SIGKILL)
	<-first.Done
	if rest := query[int](t, pool, left); rest == 0 || rest%1000 != 0 {
		t.Fatalf("%d activities are left by the killed purge, want a multiple of a thousand below %d", rest, n)
	}
	if out, errs, code := commands.Run(t, url, "enqueue", "athlete", "purge", "--user", "7", "--yes"); code != 0 {
		t.Fatalf("the second purge = %d\n%s%s", code, out, errs)
	}
	if rest, others := query[int](t, pool, left), query[int](t, pool, `SELECT count(*) FROM activities WHERE user_id = 8`); rest != 0 || others != n {
		t.Errorf("%d activities are left, want none, and %d of the other athlete, want %d", rest, others, n)
	}
}
