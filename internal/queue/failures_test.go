package queue

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// failedJobsQuery inserts jobs that name users in every way, and jobs with other
// programs' args.
const failedJobsQuery = `
INSERT INTO river.river_job (id, state, kind, queue, args, attempt, max_attempts, finalized_at, scheduled_at, attempted_at, errors)
SELECT id, state::river.river_job_state, 'activity_ingest', 'ingest', args::jsonb, 3, 25,
       CASE WHEN state IN ('discarded', 'cancelled') THEN now() - id * interval '1 minute' END, now() + id * interval '1 minute', now(), array['{"error": "old"}', '{"error": "new"}']::jsonb[]
FROM (VALUES
	(1, 'discarded', '{"activities": [{"user_id": 9}, {"user_id": "7"}, {"user_id": 9}, {"user_id": null}, {"user_id": "x"}]}'),
	(2, 'discarded', '{"ranges": [{"user_id": 5}]}'),
	(3, 'discarded', '{"user_ids": [8, 6, 4, 2, 1]}'),
	(4, 'discarded', '[{"activities": 1}]'),
	(5, 'discarded', '{"activities": [{"user_id": 99999999999999999999999999}], "ranges": "x"}'),
	(6, 'cancelled', '{}'),
	(7, 'retryable', '{"user_ids": [3]}'),
	(8, 'retryable', '{}'),
	(9, 'available', '{"user_ids": [3]}')
) AS jobs (id, state, args)`

// TestFailedJobsNameTheirUsers: whatever program enqueued them, with whatever args.
func TestFailedJobsNameTheirUsers(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	for _, sql := range []string{failedJobsQuery, `INSERT INTO river.river_queue (name, updated_at) VALUES ('ingest', now())`} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	const schema Schema = dbtest.RiverSchema
	var discarded, cancelled []EndedJob
	var retryable []RetryableJob
	failed := map[string][]int64{}
	batch := &pgx.Batch{}
	schema.Ended(batch, "discarded", 10, &discarded)
	schema.Ended(batch, "cancelled", 10, &cancelled)
	schema.Retryable(batch, 10, &retryable)
	for _, state := range []string{"retryable", "discarded", "cancelled"} {
		schema.Failures(batch, state, func(failures []LastFailure) {
			for _, f := range failures {
				if f.Error != "new" || f.At.IsZero() {
					t.Errorf("failure of job %d = %+v, want the last error and its time", f.ID, f)
				}
				failed[state] = append(failed[state], f.ID)
			}
		})
	}
	if err := pool.SendBatch(t.Context(), batch).Close(); err != nil {
		t.Fatal(err)
	}
	users := map[int64][]int64{}
	for _, j := range append(discarded, cancelled...) {
		users[j.ID] = j.Users
	}
	for _, j := range retryable {
		users[j.ID] = j.Users
	}
	want := map[int64][]int64{1: {7, 9}, 2: {5}, 3: {1, 2, 4, 6}, 4: {}, 5: {}, 6: {}, 7: {3}, 8: {}}
	if diff := cmp.Diff(want, users); diff != "" {
		t.Errorf("users by job (-want +got):\n%s", diff)
	}
	if len(retryable) != 2 || retryable[0].ID != 7 {
		t.Errorf("retryable = %+v, want jobs 7 and 8, the next to be tried first", retryable)
	}
	for state, want := range map[string]int{"retryable": 2, "discarded": 5, "cancelled": 1} {
		if got := failed[state]; len(got) != want || state == "discarded" && got[0] != 1 {
			t.Errorf("failures of %s jobs = %v, want %d, the newest first", state, got, want)
		}
	}
}
