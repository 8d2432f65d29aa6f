package recovery

import (
	"log/slog"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/dbtest"
	"github.com/trainingmonkey/worker/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// deadAfter is long: tests age beats and attempts by SQL.
const deadAfter = time.Hour

func testOptions() Options {
	return Options{
		RiverSchema: dbtest.RiverSchema, Interval: time.Minute, DeadAfter: deadAfter, Timeout: 10 * time.Second,
		Logger: slog.New(slog.DiscardHandler),
	}
}

// joined returns a process whose next beat will be in time.
func joined(t *testing.T, pool *dbpool.Pool, clientID string) *Process {
	t.Helper()
	p := New(pool, clientID, testOptions())
	if err := p.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

func look(t *testing.T, p *Process) {
	t.Helper()
	if err := p.beatAndRecover(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// die makes a process one that has not beaten for too long.
func die(t *testing.T, pool *dbpool.Pool, clientID string) {
	t.Helper()
	exec(t, pool, `INSERT INTO worker_processes (client_id, beat_at) VALUES ($1, now() - interval '61 minutes')
		ON CONFLICT (client_id) DO UPDATE SET beat_at = excluded.beat_at`, clientID)
}

// running inserts a running job of a process and returns its id. set is a list
// of further assignments.
func running(t *testing.T, pool *dbpool.Pool, clientID, set string) int64 {
	t.Helper()
	id := one[int64](t, pool, `
		INSERT INTO river.river_job (kind, queue, args, state, attempt, attempted_at, attempted_by, max_attempts, scheduled_at)
		VALUES ('any', 'q', '{}', 'running', 3, now(), ARRAY['somebody', $1], 25, now() - interval '1 minute')
		RETURNING id`, clientID)
	if set != "" {
		exec(t, pool, `UPDATE river.river_job SET `+set+` WHERE id = $1`, id)
	}
	return id
}

func exec(t *testing.T, pool *dbpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func one[T any](t *testing.T, pool *dbpool.Pool, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// job describes a job: its state, attempt, metadata and errors, whether it is
// finalized, and whether it is due.
func job(t *testing.T, pool *dbpool.Pool, id int64) string {
	t.Helper()
	return one[string](t, pool, `
		SELECT concat_ws(' ', state, attempt, metadata, errors[array_upper(errors, 1)]->>'error',
			CASE WHEN finalized_at IS NOT NULL THEN 'finalized' WHEN scheduled_at <= now() THEN 'due' END)
		FROM river.river_job WHERE id = $1`, id)
}

// row is a job's row, byte for byte, and which version of it.
func row(t *testing.T, pool *dbpool.Pool, id int64) string {
	t.Helper()
	return one[string](t, pool, `SELECT concat(job::text, ' ', ctid, ' ', xmin) FROM river.river_job AS job WHERE id = $1`, id)
}
