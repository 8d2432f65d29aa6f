package workers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestPurgeOfRowsWithNULLs: where the application has a unique index in place of a key, a
// purge also removes an athlete's rows without an id, more of them than one call may, and
// those without a finite date. Rows of nobody and of others stay.
func TestPurgeOfRowsWithNULLs(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	withoutKey(t, pool)
	execute(t, pool, `
		INSERT INTO activities (activity_id, user_id, date, name) VALUES
			(NULL, 1707071707, '2025-03-01', 'Zugspitze'), (NULL, 1707071707, '2025-03-01', 'Zugspitze'), (NULL, 1707071707, NULL, NULL),
			(1001, 1707071707, NULL, NULL), (1002, 1707071707, '-infinity', NULL), (NULL, 1707071707, 'infinity', NULL),
			(NULL, 8, '2025-03-01', NULL), (NULL, NULL, NULL, NULL), (1003, NULL, '2025-03-01', NULL)`)
	fillHolding(t, pool)
	others := query[string](t, pool, othersQuery)
	if calls := purge(t, pool, leaving); calls != 1 {
		t.Errorf("%d calls, want 1 for so few rows", calls)
	}
	after := tracesLeft(t, pool)
	if len(after) > 0 {
		t.Errorf("still there: %v", after)
	}
	if diff := cmp.Diff(others, query[string](t, pool, othersQuery)); diff != "" {
		t.Errorf("rows of others (-before +after):\n%s", diff)
	}
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date) SELECT CASE WHEN i % 2 = 0 THEN i END, 1707071707, '2025-01-01' FROM generate_series(5001, 8500) AS i`)
	if calls, left := purge(t, pool, leaving), query[int](t, pool, `SELECT count(*) FROM activities WHERE user_id = 1707071707`); calls != 4 || left > 0 {
		t.Errorf("%d calls left %d of 3,500 rows, want 4 calls and none left", calls, left)
	}
}

// TestPurgeOfRowsBeingWritten: the application writes a row, with or without an id, while
// a purge waits for it. The purge removes what was written, in the same call.
func TestPurgeOfRowsBeingWritten(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	withoutKey(t, pool)
	for table, written := range map[string]string{
		"activities":      `UPDATE activities SET name = 'Zugspitze'`,
		"token_audit_log": `UPDATE token_audit_log SET operation = 'Zugspitze'`,
	} {
		execute(t, pool, `INSERT INTO activities (activity_id, user_id, date) VALUES (1, 1707071707, '2025-03-01'), (NULL, 1707071707, '2025-03-01')`)
		execute(t, pool, `INSERT INTO token_audit_log (user_id, operation, timestamp) VALUES (1707071707, 'save', '2020-01-01')`)
		writing, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := writing.Exec(t.Context(), written); err != nil {
			t.Fatal(err)
		}
		var answer string
		purged := make(chan error, 1)
		go func() {
			purged <- pool.QueryRow(t.Context(), `SELECT river.purge_athlete(1707071707)::text`).Scan(&answer)
		}()
		awaitLock(t, pool, purged)
		if err := writing.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-purged; err != nil {
			t.Fatal(err)
		}
		left := tracesLeft(t, pool)
		if !strings.Contains(answer, `"done": true`) || len(left) > 0 {
			t.Errorf("%s: a call answered %s and left rows in %v", table, answer, left)
		}
	}
}

// awaitLock returns once a session waits for a lock, before what it does has ended.
func awaitLock(t *testing.T, pool *dbpool.Pool, ended <-chan error) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); query[int](t, pool, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) == 0; {
		select {
		case err := <-ended:
			t.Fatalf("it ended without waiting for a lock: %v", err)
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody waits for a lock")
		}
	}
}
