package queue

import (
	"log/slog"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/internal/dbtest"
)

// TestPromoteByTheServersClock: River's leader may be on a machine whose clock is
// behind.
func TestPromoteByTheServersClock(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	_, err := pool.Exec(t.Context(), `INSERT INTO river.river_job (kind, queue, args, max_attempts, state, scheduled_at, unique_key) VALUES
		('due', 'ours', '{}', 25, 'retryable', now() - interval '1 second', NULL),
		('due later', 'ours', '{}', 25, 'retryable', now() + interval '1 minute', NULL),
		('unique', 'ours', '{}', 25, 'retryable', now() - interval '1 second', 'key'),
		('of others', 'others', '{}', 25, 'retryable', now() - interval '1 second', NULL),
		('scheduled', 'ours', '{}', 25, 'scheduled', now() - interval '1 second', NULL)`)
	if err != nil {
		t.Fatal(err)
	}
	p := NewProcess(pool, dbtest.RiverSchema, "test", []string{"ours"}, time.Minute, func() {}, slog.New(slog.DiscardHandler))
	if err := p.promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	var available string
	if err := pool.QueryRow(t.Context(), `SELECT string_agg(kind, ', ' ORDER BY id) FROM river.river_job WHERE state = 'available'`).Scan(&available); err != nil {
		t.Fatal(err)
	}
	if available != "due, scheduled" {
		t.Errorf("available: %s, want what is due and ours", available)
	}
}
