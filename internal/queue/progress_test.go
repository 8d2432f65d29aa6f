package queue

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// oneOfEachStateQuery inserts jobs 1 to 8, one in each state.
const oneOfEachStateQuery = `
INSERT INTO river.river_job (state, kind, queue, args, max_attempts, finalized_at, errors)
SELECT state, 'acwr_recalc', 'recalc', jsonb_build_object('user_ids', array[place]), 25,
       CASE WHEN state IN ('completed', 'cancelled', 'discarded') THEN now() END,
       array[jsonb_build_object('error', state::text)]
FROM unnest('{available,running,retryable,scheduled,pending,completed,cancelled,discarded}'::river.river_job_state[]) WITH ORDINALITY AS s (state, place)
ORDER BY place`

func oneOfEachState(t *testing.T) *dbpool.Pool {
	t.Helper()
	pool := dbtest.Migrated(t)
	if _, err := pool.Exec(t.Context(), oneOfEachStateQuery); err != nil {
		t.Fatal(err)
	}
	return pool
}

func TestProgress(t *testing.T) {
	t.Parallel()
	pool := oneOfEachState(t)
	const schema Schema = dbtest.RiverSchema
	got, err := schema.Progress(t.Context(), pool, []int64{1, 2, 3, 4, 5, 6, 7, 8, 99})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Progress{Unfinished: 5, Failed: 2, LastError: "discarded"}, got); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	if got, err = schema.KindProgress(t.Context(), pool, jobs.KindACWRRecalc, 7, 3); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Progress{Unfinished: 5, Failed: 1, LastError: "cancelled"}, got); diff != "" {
		t.Errorf("progress of the kind up to job 7 (-want +got):\n%s", diff)
	}
	for kind, want := range map[string]int64{jobs.KindACWRRecalc: 8, jobs.KindTokenRefresh: 0} {
		if got, err := schema.NewestOfKind(t.Context(), pool, kind); err != nil || got != want {
			t.Errorf("NewestOfKind(%s) = %d, %v, want %d", kind, got, err, want)
		}
	}
}

func TestSubqueries(t *testing.T) {
	t.Parallel()
	pool := oneOfEachState(t)
	const schema Schema = dbtest.RiverSchema
	ids := func(query string) []int64 {
		t.Helper()
		rows, err := pool.Query(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	want := []int64{1, 2, 3, 4, 5}
	if diff := cmp.Diff(want, ids(`SELECT wanted.id FROM generate_series(1, 99) AS wanted (id) WHERE `+schema.Unfinished("wanted.id")+` ORDER BY 1`)); diff != "" {
		t.Errorf("unfinished (-want +got):\n%s", diff)
	}
	outcomes := `SELECT wanted.id FROM generate_series(1, 99) AS wanted (id) CROSS JOIN LATERAL (` + schema.Outcome("wanted.id") + `) AS job `
	if diff := cmp.Diff(want, ids(outcomes+`WHERE job.unfinished ORDER BY 1`)); diff != "" {
		t.Errorf("outcomes of unfinished jobs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int64{8}, ids(outcomes+`WHERE job.last_error = 'discarded'`)); diff != "" {
		t.Errorf("outcomes by error (-want +got):\n%s", diff)
	}
	if _, err := pool.Exec(t.Context(), `UPDATE river.river_job SET kind = 'token_refresh'`); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, ids(`SELECT user_id::bigint FROM (`+schema.UsersToRefresh()+`) AS u ORDER BY 1`)); diff != "" {
		t.Errorf("users to refresh (-want +got):\n%s", diff)
	}
}
