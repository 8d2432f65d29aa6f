package admin

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestNotificationsOfAListenerInATransaction: a session that listens receives nothing
// while it is in a transaction, and the server keeps for it what every database sends.
func TestNotificationsOfAListenerInATransaction(t *testing.T) {
	t.Parallel()
	server := dbtest.Server(t) // the queue is the server's
	pool := dbtest.Open(t, server.URL(""))
	if _, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	if got := notifications(t, pool); got != 0 {
		t.Errorf("notifications fill %v of their queue, want none", got)
	}
	listener := connected(t, server.URL(""), `LISTEN jobs`, `BEGIN`, `SELECT 1`)
	for i := range 30 {
		execute(t, pool, fmt.Sprintf(`SELECT pg_notify('jobs', repeat('x', 7000) || '%d')`, i))
	}
	if got := notifications(t, pool); got <= 0 {
		t.Errorf("notifications fill %v of their queue, want the thirty pages that wait", got)
	}
	if _, err := listener.Exec(t.Context(), `COMMIT`); err != nil {
		t.Fatal(err)
	}
	await(t, pool, `SELECT pg_notification_queue_usage() = 0`)
	if got := notifications(t, pool); got != 0 {
		t.Errorf("notifications fill %v of their queue after they were received, want none", got)
	}
}

// TestDeadRowsOfTheServersSettings: the server's settings count where the table has none of its own,
// and its own statement outweighs them.
func TestDeadRowsOfTheServersSettings(t *testing.T) {
	t.Parallel()
	server := dbtest.ServerWith(t, map[string]string{"fsync": "off", "autovacuum_vacuum_threshold": "300000", "autovacuum_vacuum_scale_factor": "0.9"})
	pool := dbtest.Open(t, server.URL(""))
	if _, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	neglected := upkeep(t, pool).Neglected()
	const cure = "ALTER TABLE river.river_job SET (autovacuum_vacuum_threshold = 50)"
	if len(neglected) != 1 || neglected[0].Check != CheckAutovacuum || neglected[0].What != "of river.river_job waits until 300000 rows are dead" || neglected[0].Why == "" || neglected[0].Cure != cure {
		t.Fatalf("neglected = %+v, want what autovacuum waits for, and %s", neglected, cure)
	}
	execute(t, pool, cure)
	if got := upkeep(t, pool).Neglected(); len(got) != 0 {
		t.Errorf("neglected after %s = %+v, want nothing", cure, got)
	}
}

// TestDeadRows at the limits, also with the limit of all rows.
func TestDeadRows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rows DeadRows
		late bool
	}{
		{DeadRows{"jobs", 0.1, 100_000, -1}, false},
		{DeadRows{"jobs", 0.11, 50, -1}, true},
		{DeadRows{"jobs", 0, 100_001, -1}, true},
		{DeadRows{"jobs", 0.2, 50, 100_000_000}, true},
		{DeadRows{"jobs", 0.2, 50, 100_000}, false},
	} {
		if what, cure := c.rows.late(); (what != "") != c.late || (cure != "") != c.late {
			t.Errorf("%+v: late for %q, cured by %q, want %v", c.rows, what, cure, c.late)
		}
	}
}

// notifications reads how full the queue of notifications is.
func notifications(t *testing.T, pool *dbpool.Pool) float64 {
	t.Helper()
	return upkeep(t, pool).Notifications
}

func upkeep(t *testing.T, pool *dbpool.Pool) (u Upkeep) {
	t.Helper()
	b := &pgx.Batch{}
	QueueUpkeep(b, dbtest.RiverSchema, &u)
	if err := pool.SendBatch(t.Context(), b).Close(); err != nil {
		t.Fatal(err)
	}
	return u
}
