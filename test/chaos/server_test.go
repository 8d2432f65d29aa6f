//go:build chaos

package chaos

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/localpg"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestServerRestart(t *testing.T) {
	t.Parallel()
	r := own(t)
	r.begin(2)
	r.fault(func() {
		if err := r.server.Restart(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	})
	r.end()
	r.recoveredWithin(5 * time.Second)
}

// TestServerDownForLong restarts the server repeatedly.
func TestServerDownForLong(t *testing.T) {
	t.Parallel()
	r := own(t)
	r.begin(2)
	r.fault(func() {
		r.exec(`ALTER SYSTEM SET max_connections = 100`)
		if err := r.server.Restart(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			time.Sleep(*long / 3)
			if err := r.server.Restart(t.Context(), true); err != nil {
				t.Fatal(err)
			}
		}
	})
	r.end()
	r.recoveredWithin(10 * time.Second)
}

// repeatedly calls what at every interval while the fault lasts.
func repeatedly(interval time.Duration, what func()) {
	for end := time.Now().Add(*long); time.Now().Before(end); {
		what()
		time.Sleep(interval)
	}
}

func TestTerminatedBackends(t *testing.T) {
	t.Parallel()
	r := shared(t)
	r.begin(2)
	r.fault(func() {
		repeatedly(50*time.Millisecond, func() {
			r.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE application_name LIKE 'worker %' AND datname = current_database() ORDER BY random() LIMIT 1`)
		})
	})
	r.end()
	r.recoveredWithin(15 * time.Second)
}

// TestExhaustedServer fills the server's slots while it terminates the workers'
// connections.
func TestExhaustedServer(t *testing.T) {
	t.Parallel()
	server, err := localpg.Start(t.Context(), localpg.Options{Settings: map[string]string{"max_connections": "300", "fsync": "off"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.WithoutCancel(t.Context())) })
	u := server.URL("postgres")
	pool := dbtest.Open(t, u)
	if _, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	pool.Close()
	r := &rig{T: t, server: server, url: u, through: u}
	r.begin(2)
	r.fault(func() {
		var idle []*pgx.Conn
		for range 300 {
			conn, err := pgx.Connect(t.Context(), u)
			if err != nil {
				break
			}
			idle = append(idle, conn)
		}
		if len(idle) < 200 {
			t.Errorf("only %d connections were taken", len(idle))
		}
		for end := time.Now().Add(*long); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			_, _ = idle[0].Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'worker %' ORDER BY random() LIMIT 3`)
			if conn, err := pgx.Connect(t.Context(), u); err == nil {
				idle = append(idle, conn)
			}
		}
		for _, conn := range idle {
			_ = conn.Close(t.Context())
		}
	})
	r.end()
	r.recoveredWithin(15 * time.Second)
}

// holdTransactions keeps transactions open that have read at the given isolation level.
func (r *rig) holdTransactions(n int, level pgx.TxIsoLevel) (release func()) {
	r.Helper()
	var held []*pgx.Conn
	for range n {
		conn, err := pgx.Connect(r.Context(), r.url)
		if err != nil {
			r.Fatal(err)
		}
		tx, err := conn.BeginTx(r.Context(), pgx.TxOptions{IsoLevel: level})
		if err != nil {
			r.Fatal(err)
		}
		if _, err := tx.Exec(r.Context(), `SELECT count(*) FROM activities, river.river_job`); err != nil {
			r.Fatal(err)
		}
		held = append(held, conn)
	}
	return func() {
		for _, conn := range held {
			_ = conn.Close(context.WithoutCancel(r.Context()))
		}
	}
}

func TestIdleTransactionPinsTheSnapshot(t *testing.T) {
	t.Parallel()
	r := shared(t)
	r.begin(2)
	r.fault(func() {
		release := r.holdTransactions(1, pgx.RepeatableRead)
		time.Sleep(*long)
		r.stopCleanly(r.workers[0])
		release()
	})
	r.end()
}

func TestRepeatableReadScanners(t *testing.T) {
	t.Parallel()
	r := shared(t)
	r.begin(2)
	r.fault(func() {
		release := r.holdTransactions(4, pgx.RepeatableRead)
		repeatedly(100*time.Millisecond, func() { r.exec(`SELECT sum(total_load_miles) FROM activities`) })
		r.stopCleanly(r.workers[0])
		release()
	})
	r.end()
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	r := shared(t)
	r.exec(`
		CREATE TABLE disk (is_full bool);
		INSERT INTO disk VALUES (false);
		CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF (SELECT is_full FROM disk) THEN
				RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';
			END IF;
			RETURN NULL;
		END $$;
		CREATE TRIGGER refuse AFTER INSERT OR UPDATE ON activities FOR EACH STATEMENT EXECUTE FUNCTION refuse();`)
	r.begin(2)
	r.fault(func() {
		r.exec(`UPDATE disk SET is_full = true`)
		time.Sleep(*long)
		r.exec(`UPDATE disk SET is_full = false`)
	})
	r.end()
	r.recoveredWithin(15 * time.Second)
}

// TestOverlappingUsersDoNotDeadlock fills two workers' batches with the same few users
// in random order.
func TestOverlappingUsersDoNotDeadlock(t *testing.T) {
	r := shared(t)
	r.begin(2)
	random := rand.New(rand.NewPCG(3, 4))
	r.fault(func() {
		r.load.rate.Store(2000)
		repeatedly(50*time.Millisecond, func() {
			user := 1 + random.IntN(loadUsers)
			r.exec(`INSERT INTO river.river_job (kind, queue, args) SELECT 'acwr_recalc', 'recalc',
				jsonb_build_object('ranges', jsonb_build_array(jsonb_build_object('user_id', (i + $1) % 40 + 1, 'from', '2025-01-01', 'to', '2025-05-01')))
				FROM generate_series(1, 50) i ORDER BY random()`, user)
		})
		r.load.rate.Store(steadyRate)
	})
	r.end()
	var deadlocks int
	err := r.connect(func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&deadlocks)
	})
	if err != nil || deadlocks != 0 {
		t.Errorf("PostgreSQL reports %d deadlocks (%v)", deadlocks, err)
	}
}

func TestBurst(t *testing.T) {
	r := shared(t)
	r.begin(2)
	r.fault(func() {
		r.load.rate.Store(10 * steadyRate)
		time.Sleep(*long)
		r.load.rate.Store(steadyRate)
	})
	r.end()
}

// TestLoadAboveCapacity enqueues faster than the workers can work, and stops a worker
// in the middle of the backlog.
func TestLoadAboveCapacity(t *testing.T) {
	r := shared(t)
	r.begin(2)
	r.fault(func() {
		r.load.rate.Store(100_000)
		time.Sleep(*long)
		r.stopCleanly(r.workers[0])
		r.load.rate.Store(steadyRate)
	})
	r.end()
}
