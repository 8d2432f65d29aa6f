package admin

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestJobIDsThatWentBack: whatever is beyond the newest id is found, and nothing once the ids go
// on beyond it.
func TestJobIDsThatWentBack(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	if diff := cmp.Diff(JobIDs{}, read(t, pool).JobIDs); diff != "" {
		t.Errorf("ids of a new database (-want +got):\n%s", diff)
	}
	execute(t, pool, `SELECT setval('river.river_job_id_seq', 7)`)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, ingest_job_id) VALUES (1, 1, '2025-01-01', 7), (2, 1, '2025-01-01', NULL)`)
	for _, c := range []struct{ spoil, restore string }{
		{`UPDATE activities SET ingest_job_id = 900 WHERE activity_id = 1`, `UPDATE activities SET ingest_job_id = 7 WHERE activity_id = 1`},
		{`INSERT INTO ingest_versions (user_id, activity_id, job_id) VALUES (1, 3, 900)`, `DELETE FROM ingest_versions`},
		{`INSERT INTO user_locks (user_id, purged_through) VALUES (1, 900)`, `SELECT setval('river.river_job_id_seq', 900)`},
	} {
		if got := read(t, pool).JobIDs; got.WentBack() {
			t.Errorf("before %s the ids went back: %+v", c.spoil, got)
		}
		execute(t, pool, c.spoil)
		s := read(t, pool)
		if diff := cmp.Diff(JobIDs{Last: 7, Beyond: 900}, s.JobIDs); diff != "" {
			t.Errorf("after %s (-want +got):\n%s", c.spoil, diff)
		}
		execute(t, pool, c.restore)
	}
	if got := read(t, pool).JobIDs; got.WentBack() {
		t.Errorf("after the sequence was advanced the ids went back: %+v", got)
	}
}

// TestJobIDsFollowTheIndexes also where the planner knows nothing of the tables, and checks that
// what follows in the transaction is planned as usual.
func TestJobIDsFollowTheIndexes(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	b := &pgx.Batch{}
	var lines []string
	b.Queue(followIndexesQuery)
	b.Queue("EXPLAIN " + queue.Schema(dbtest.RiverSchema).SQL(jobIDsQuery)).Query(func(rows pgx.Rows) (err error) {
		lines, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	b.Queue(followAnythingQuery)
	if err := tx.SendBatch(t.Context(), b).Close(); err != nil {
		t.Fatal(err)
	}
	plan := strings.Join(lines, "\n")
	for _, index := range []string{"activities_ingest_job_id_worker_idx", "ingest_versions_job_id_idx", "user_locks_purged_through_idx"} {
		if !strings.Contains(plan, index) {
			t.Errorf("the ids of jobs do not follow %s:\n%s", index, plan)
		}
	}
	var scans string
	if err := tx.QueryRow(t.Context(), `SELECT current_setting('enable_seqscan')`).Scan(&scans); err != nil || scans != "on" {
		t.Errorf("enable_seqscan = %s, %v afterwards, want on", scans, err)
	}
}
