package queue

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestSuspendedListenerIsGivenUp: a listening process that was suspended reads no more
// notifications. Its session waits to send them, in a transaction that holds back
// vacuum, and the notification queue grows until nobody can enqueue.
func TestSuspendedListenerIsGivenUp(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	impatient, err := dbpool.Open(t.Context(), dbpool.Options{URL: pool.Config().ConnString(), MaxConns: 1, ApplicationName: "suspended", ConnectTimeout: 20 * time.Second, AcquireTimeout: 20 * time.Second, StatementTimeout: time.Minute, LockTimeout: time.Minute, IdleInTransactionTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer impatient.Close()
	suspended, err := pgx.ConnectConfig(t.Context(), impatient.Config().ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = suspended.PgConn().Conn().Close() }()
	topic := Schema(dbtest.RiverSchema).topic()
	if _, err := suspended.Exec(t.Context(), "LISTEN "+pgx.Identifier{topic}.Sanitize()); err != nil {
		t.Fatal(err)
	}
	pid := suspended.PgConn().PID() // it reads nothing from now on
	ask := func(sql string, args ...any) (yes bool) {
		t.Helper()
		if err := pool.QueryRow(t.Context(), sql, args...).Scan(&yes); err != nil {
			t.Fatal(err)
		}
		return yes
	}
	const waits = `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'ClientWrite')`
	for end := time.Now().Add(30 * time.Second); !ask(waits, pid); {
		if time.Now().After(end) {
			t.Fatal("the session never waits to send")
		}
		if _, err := pool.Exec(t.Context(), `SELECT pg_notify($1, i || repeat('x', 7000)) FROM generate_series(1, 200) AS i`, topic); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for ask(`SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)`, pid) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("its session still exists after %v", time.Since(began))
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("given up after %v", time.Since(began))
}
