package admin

import (
	"log/slog"
	"testing"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestJobIDsThatWentBack: a watch notices while it runs if a stored version is beyond, until
// the ids have gone on beyond it.
func TestJobIDsThatWentBack(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, ingest_job_id) VALUES (1, 1, '2025-01-01', 7), (2, 1, '2025-01-01', NULL)`)
	w := NewWatch(pool, options, slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		change string
		last   int64
		back   bool
	}{
		{`SELECT`, 7, false},
		{`SELECT`, 1000, false},
		{`SELECT`, 900, false}, // nothing is stored beyond
		{`UPDATE activities SET ingest_job_id = 900 WHERE activity_id = 1`, 900, false},
		{`SELECT`, 800, true},
		{`SELECT`, 899, true},
		{`SELECT`, 901, false},
		{`INSERT INTO ingest_versions (user_id, activity_id, job_id) VALUES (1, 3, 1000)`, 1000, false},
		{`SELECT`, 950, true},
		{`DELETE FROM ingest_versions`, 950, false},
		{`INSERT INTO user_locks (user_id, purged_through) VALUES (1, 2000)`, 2000, false},
		{`SELECT`, 1, true},
		{`SELECT`, 2001, false},
	} {
		execute(t, pool, c.change)
		execute(t, pool, `SELECT setval('river.river_job_id_seq', $1)`, c.last)
		if err := w.TakeSnapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s, _, _ := w.Latest(); s.JobIDs.WentBack() != c.back {
			t.Errorf("after %s, with the last id %d the ids went back: %t, %+v", c.change, c.last, !c.back, s.JobIDs)
		}
	}
}
