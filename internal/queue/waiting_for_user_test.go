package queue

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestWaitingForUser: the query finds the waiting jobs that name a user, reports when
// it did not search all jobs, and does not scan the finished ones.
func TestWaitingForUser(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	schema := Schema(dbtest.RiverSchema)
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO river.river_job (kind, queue, args, state, finalized_at, max_attempts)
		SELECT 'activity_ingest', 'ingest', '{"activities": [{"user_id": 7}]}', 'completed', now(), 25 FROM generate_series(1, 20000)`)
	exec(`INSERT INTO river.river_job (id, kind, queue, args, state, max_attempts) VALUES
		(100001, 'activity_ingest', 'ingest', '{"activities": [{"user_id": 6}, {"user_id": 7}]}', 'available', 25),
		(100002, 'activity_ingest', 'ingest', '{"activities": [{"user_id": 77}]}', 'available', 25),
		(100003, 'acwr_recalc', 'recalc_bulk', '{"ranges": [{"user_id": 7, "from": "2025-01-01"}]}', 'scheduled', 25),
		(100004, 'token_refresh', 'tokens', '{"user_ids": [3, 7]}', 'retryable', 25),
		(100005, 'acwr_backfill', 'backfill', '{"backfill_id": 7}', 'available', 25)`)
	exec(`ANALYZE river.river_job`)
	for user, want := range map[int32][]int64{7: {100001, 100003, 100004}, 77: {100002}, 8: nil} {
		found, all, err := schema.WaitingForUser(t.Context(), pool, user, 20)
		var ids []int64
		for _, job := range found {
			ids = append(ids, job.ID)
		}
		if err != nil || !all || !slices.Equal(ids, want) {
			t.Errorf("user %d: jobs %v, all %v, %v, want %v", user, ids, all, err, want)
		}
	}
	if found, _, err := schema.WaitingForUser(t.Context(), pool, 7, 2); err != nil || len(found) != 2 {
		t.Errorf("with a limit of two of three jobs: %v, %v", found, err)
	}
	for name, query := range map[string]string{"waiting": waitingForUserQuery, "comes": comesForUserQuery} {
		third := any(20)
		if name == "comes" {
			third = "acwr_backfill"
		}
		rows, err := pool.Query(t.Context(), "EXPLAIN "+schema.SQL(query), []string{"ingest", "tokens"}, []string{"activity_ingest"}, third, namesUser(7), searchedJobs)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(lines, "\n"); strings.Contains(text, "Seq Scan on river_job") {
			t.Errorf("%s scans the jobs:\n%s", name, text)
		}
	}
	exec(`INSERT INTO river.river_job (kind, queue, args, max_attempts) SELECT 'activity_ingest', 'ingest', '{}', 25 FROM generate_series(1, 1200)`)
	if _, all, err := schema.WaitingForUser(t.Context(), pool, 7, 20); err != nil || all {
		t.Errorf("1,200 jobs wait: all %v, %v", all, err)
	}
}
