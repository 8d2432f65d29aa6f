package groupcommit

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/dbtest"
)

// TestCompletionLooksJobsUpByKey: statistics from a time when no job was running
// must not have all running jobs compared with all of the batch.
func TestCompletionLooksJobsUpByKey(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	exec(t, pool, `INSERT INTO river.river_job (kind, queue, args, state, max_attempts) SELECT 'effect', 'test', '{}', 'available', 25 FROM generate_series(1, 20000)`)
	exec(t, pool, `ANALYZE river.river_job`)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	// As in batches, which look rows up by their keys.
	if _, err := tx.Exec(t.Context(), `SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off`); err != nil {
		t.Fatal(err)
	}
	query := "EXPLAIN " + strings.ReplaceAll(completeQuery, "{schema}", dbtest.RiverSchema)
	rows, err := tx.Query(t.Context(), query, []int64{1, 2}, []int32{1, 1}, []time.Time{{}, {}})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(plan, "\n"); !strings.Contains(text, "Index Cond: (id = ") {
		t.Errorf("the plan does not look each job up:\n%s", text)
	}
}
