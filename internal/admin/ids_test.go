package admin

import (
	"log/slog"
	"testing"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestJobIDsThatWentBack: a watch notices while it runs, until the ids have gone on.
func TestJobIDsThatWentBack(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	w := NewWatch(pool, options, slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		last int64
		back bool
	}{{7, false}, {900, false}, {800, true}, {899, true}, {900, false}, {1000, false}} {
		execute(t, pool, `SELECT setval('river.river_job_id_seq', $1)`, c.last)
		if err := w.TakeSnapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s, _, _ := w.Latest(); s.JobIDs.WentBack() != c.back {
			t.Errorf("with the last id %d the ids went back: %t, %+v", c.last, !c.back, s.JobIDs)
		}
	}
}
