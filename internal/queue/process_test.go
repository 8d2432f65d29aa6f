package queue

import (
	"log/slog"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func newProcess(pool *dbpool.Pool) *Process {
	return NewProcess(pool, dbtest.RiverSchema, "test", []string{"ours"}, Writing{"on", 100}, time.Minute, func() {}, slog.New(slog.DiscardHandler))
}

// TestPausesAreKept: River deletes a queue's row that was not updated for a day, and
// with it the pause of a queue that nobody works because it is paused.
func TestPausesAreKept(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	_, err := pool.Exec(t.Context(), `INSERT INTO river.river_queue (name, updated_at, paused_at) VALUES
		('paused', now() - interval '2 days', now()), ('forgotten', now() - interval '2 days', NULL)`)
	if err != nil {
		t.Fatal(err)
	}
	if err := newProcess(pool).beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	var kept string
	if err := pool.QueryRow(t.Context(), `SELECT string_agg(name, ', ' ORDER BY name) FROM river.river_queue WHERE updated_at > now() - interval '1 day'`).Scan(&kept); err != nil {
		t.Fatal(err)
	}
	if kept != "ours, paused" {
		t.Errorf("updated queues are %s, want ours and the paused one", kept)
	}
}

// TestPromote: due jobs become available without River's leader, but for those that
// somebody has locked.
func TestPromote(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	_, err := pool.Exec(t.Context(), `INSERT INTO river.river_job (kind, queue, args, max_attempts, state, scheduled_at, unique_key) VALUES
		('due', 'ours', '{}', 25, 'retryable', now() - interval '1 second', NULL),
		('locked', 'ours', '{}', 25, 'retryable', now() - interval '1 second', NULL),
		('of tokens', 'tokens', '{}', 25, 'retryable', now() - interval '1 second', NULL),
		('due later', 'ours', '{}', 25, 'retryable', now() + interval '1 minute', NULL),
		('unique', 'ours', '{}', 25, 'retryable', now() - interval '1 second', 'key'),
		('of others', 'others', '{}', 25, 'retryable', now() - interval '1 second', NULL),
		('scheduled', 'ours', '{}', 25, 'scheduled', now() - interval '1 second', NULL)`)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context()) //nolint:errcheck // for when the test fails
	if _, err := tx.Exec(t.Context(), `SELECT FROM river.river_job WHERE kind = 'locked' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	p := newProcess(pool)
	if err := p.promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	var available string
	if err := pool.QueryRow(t.Context(), `SELECT string_agg(kind, ', ' ORDER BY id) FROM river.river_job WHERE state = 'available'`).Scan(&available); err != nil {
		t.Fatal(err)
	}
	if available != "due, of tokens, scheduled" {
		t.Errorf("available: %s, want our jobs that are due", available)
	}
}
