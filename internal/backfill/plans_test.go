package backfill

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// largeBackfillQueries create a backfill with half its chunks pending, each with a job,
// among the jobs of a long queue.
var largeBackfillQueries = []string{
	`INSERT INTO acwr_backfills (id, state, planned) OVERRIDING SYSTEM VALUE VALUES (1, 'running', true)`,
	`INSERT INTO acwr_backfill_chunks (backfill_id, number, users, rows, state, job_id)
	SELECT 1, i, array[i], 100, CASE WHEN i % 2 = 0 THEN 'done' ELSE 'pending' END, i FROM generate_series(1, 100) AS i`,
	`INSERT INTO river.river_job (kind, queue, args, max_attempts) SELECT 'acwr_backfill', 'backfill', '{}', 25 FROM generate_series(1, 50000)`,
	`ANALYZE`,
}

// TestQueriesFindJobsByID: what is read of a backfill every few seconds does not scan
// all jobs.
func TestQueriesFindJobsByID(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	for _, fill := range largeBackfillQueries {
		if _, err := pool.Exec(t.Context(), fill); err != nil {
			t.Fatalf("%s: %v", fill, err)
		}
	}
	revive := strings.Replace(reviveQuery, "{unfinished}", queue.Schema(dbtest.RiverSchema).Unfinished("c.job_id"), 1)
	for name, query := range map[string]string{
		"progress": strings.Replace(withOutcomes(progressQuery, dbtest.RiverSchema), "{which}", "b.id = $1", 1),
		"failures": withOutcomes(failuresQuery, dbtest.RiverSchema),
		"revive":   revive,
	} {
		rows, err := pool.Query(t.Context(), "EXPLAIN "+query, 1)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if plan := strings.Join(lines, "\n"); !strings.Contains(plan, "river_job_pkey") || strings.Contains(plan, "Seq Scan on river_job") {
			t.Errorf("%s does not find jobs by id:\n%s", name, plan)
		}
	}
}
