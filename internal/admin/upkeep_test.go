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

// notifications reads how full the queue of notifications is.
func notifications(t *testing.T, pool *dbpool.Pool) float64 {
	t.Helper()
	var u Upkeep
	b := &pgx.Batch{}
	QueueUpkeep(b, dbtest.RiverSchema, &u)
	if err := pool.SendBatch(t.Context(), b).Close(); err != nil {
		t.Fatal(err)
	}
	return u.Notifications
}
