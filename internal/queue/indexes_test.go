package queue

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// largeTableQuery inserts a day's completed jobs, a few others and a long queue.
const largeTableQuery = `
INSERT INTO river.river_job (state, kind, queue, args, max_attempts, created_at, finalized_at)
SELECT CASE WHEN i > 40000 THEN 'available' WHEN i % 1000 > 0 THEN 'completed' WHEN i % 2000 > 0 THEN 'retryable' ELSE 'discarded' END::river.river_job_state,
       CASE WHEN i % 1000 > 1 THEN 'activity_ingest' ELSE 'acwr_backfill' END,
       CASE WHEN i > 40000 THEN 'ingest_bulk' WHEN i % 1000 > 3 THEN 'ingest' ELSE 'backfill' END,
       jsonb_build_object('activities', jsonb_build_array(jsonb_build_object('user_id', i % 5000, 'activity_id', i))), 25,
       now() - (60000 - i) * interval '1 second', CASE WHEN i <= 40000 AND i % 2000 <> 1000 THEN now() - (60000 - i) * interval '1 second' END
FROM generate_series(1, {jobs}) AS i`

func largeTable(t *testing.T, jobs string) *dbpool.Pool {
	t.Helper()
	pool := dbtest.Migrated(t)
	for _, fill := range []string{strings.Replace(largeTableQuery, "{jobs}", jobs, 1), `ANALYZE`} {
		if _, err := pool.Exec(t.Context(), fill); err != nil {
			t.Fatal(err)
		}
	}
	return pool
}

// explain returns the plan of a query.
func explain(t *testing.T, pool *dbpool.Pool, name, query string, args ...any) string {
	t.Helper()
	rows, err := pool.Query(t.Context(), "EXPLAIN "+query, args...)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return strings.Join(lines, "\n")
}

// TestAdminQueriesUseTheIndexes: no query of an Admin scans the table.
func TestAdminQueriesUseTheIndexes(t *testing.T) {
	t.Parallel()
	pool := largeTable(t, "40000")
	const schema Schema = dbtest.RiverSchema
	check := func(name, query string, args pgx.NamedArgs) {
		t.Helper()
		if plan := explain(t, pool, name, query, args); strings.Contains(plan, "Seq Scan on river_job") {
			t.Errorf("%s scans the table:\n%s", name, plan)
		}
	}
	for name, f := range map[string]Filter{
		"nothing":    {},
		"ids":        {IDs: []int64{7, 8}},
		"kind":       {Kinds: []string{jobs.KindACWRBackfill}},
		"state":      {States: []string{"retryable", "discarded"}},
		"queue":      {Queues: []string{jobs.QueueBackfill}},
		"user":       {User: 7, States: []string{"retryable", "discarded"}}, // in any state; the search covers every queue
		"older than": {OlderThan: time.Hour},
		"all":        {Kinds: []string{jobs.KindACWRBackfill}, States: []string{"retryable"}, Queues: []string{jobs.QueueBackfill}, User: 7, OlderThan: time.Hour},
	} {
		args := pgx.NamedArgs{"limit": 50}
		check("list of jobs by "+name, schema.filtered(listJobsQuery, f, args), args)
		for _, a := range []Action{Retry, Cancel, Discard} {
			args = pgx.NamedArgs{"after": 100, "newest": 40_000, "limit": changedPerTx}
			check(a.Name+" preview by "+name, schema.filtered(previewJobsQuery, a.restrict(f), args), args)
			check(a.Name+" by "+name, schema.filtered(lockJobsQuery, a.restrict(f), args), args)
		}
	}
}

// TestCountsUseTheIndexes: the queries that run every few seconds do not scan the
// table, even if a queue is long.
func TestCountsUseTheIndexes(t *testing.T) {
	t.Parallel()
	pool := largeTable(t, "80000")
	const schema Schema = dbtest.RiverSchema
	for name, q := range map[string]struct {
		sql  string
		args []any
		want string // the index
	}{
		"counts":             {schema.SQL(countsQuery), []any{[]string{jobs.QueueIngest}, maxCounted + 1, maxQueues}, "river_job_prioritized_fetching_index"},
		"discarded":          {schema.SQL(endedQuery), []any{10, "discarded"}, "river_job_state_and_finalized_at_index"},
		"cancelled":          {schema.SQL(endedQuery), []any{10, "cancelled"}, "river_job_state_and_finalized_at_index"},
		"retryable":          {schema.SQL(retryableQuery), []any{10}, "river_job_prioritized_fetching_index"},
		"failures, ended":    {schema.SQL(endedFailuresQuery), []any{MaxFailures, "discarded"}, "river_job_state_and_finalized_at_index"},
		"failures, retried":  {schema.SQL(retryableFailuresQuery), []any{MaxFailures}, "river_job_prioritized_fetching_index"},
		"newest id":          {schema.SQL(newestIDQuery), nil, "river_job_pkey"},
		"enqueued":           {schema.SQL(enqueuedQuery), []any{70_000, 70_100, []string{jobs.KindActivityIngest}}, "river_job_pkey"},
		"progress":           {schema.SQL(progressQuery), []any{[]int64{7, 8}}, "river_job_pkey"},
		"progress of a kind": {schema.SQL(kindProgressQuery), []any{jobs.KindACWRBackfill, 80_000, 70_000}, "river_job_kind"},
		"newest of a kind":   {schema.SQL(newestOfKindQuery), []any{jobs.KindTokenRefresh}, "river_job"},
		"unfinished":         {"SELECT FROM unnest($1::bigint[]) AS wanted (id) WHERE " + schema.Unfinished("wanted.id"), []any{[]int64{7, 8}}, "river_job_pkey"},
		"outcome":            {schema.Outcome("$1"), []any{7}, "river_job_pkey"},
		"users to refresh":   {schema.UsersToRefresh(), nil, "river_job_"},
	} {
		if plan := explain(t, pool, name, q.sql, q.args...); !strings.Contains(plan, q.want) || strings.Contains(plan, "Seq Scan on river_job") {
			t.Errorf("%s does not use %s:\n%s", name, q.want, plan)
		}
	}
}
