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
