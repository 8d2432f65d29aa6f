package recovery

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/dbtest"
)

// TestRecoveryReadsRunningJobsOnly: completed jobs are a hundred thousand and
// more, and every process looks every few seconds.
func TestRecoveryReadsRunningJobsOnly(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	p := joined(t, pool, "me")
	exec(t, pool, `DROP INDEX river.river_job_args_index, river.river_job_metadata_index`) // they only slow the next line down
	exec(t, pool, `INSERT INTO river.river_job (kind, queue, args, state, attempt, attempted_at, attempted_by, max_attempts, finalized_at)
		SELECT 'any', 'q', '{}', 'completed', 1, now(), '{me}', 25, now() FROM generate_series(1, 100000)`)
	for range 20 {
		running(t, pool, "me", ``)
	}
	exec(t, pool, `INSERT INTO worker_processes (client_id, beat_at) SELECT 'process ' || i, now() FROM generate_series(1, 50) AS i`)
	exec(t, pool, `ANALYZE`)
	for name, q := range map[string]struct {
		sql  string
		args []any
	}{
		"recover":     {recoverQuery, []any{mostRefunds, deadAfter}},
		"strangers":   {strangersQuery, []any{"me", deadAfter, []int64{1, 2}}},
		"recover own": {recoverOwnQuery, []any{mostRefunds, "me", deadAfter, []int64{1, 2}}},
		"forget":      {forgetQuery, nil},
	} {
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			tx, err := pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.Exec(t.Context(), "SET LOCAL plan_cache_mode = "+mode); err != nil {
				t.Fatal(err)
			}
			rows, err := tx.Query(t.Context(), "EXPLAIN "+p.query(q.sql), q.args...)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			text := strings.Join(plan, "\n")
			if strings.Contains(text, "Seq Scan on river_job") || !strings.Contains(text, "(state = 'running'") {
				t.Errorf("%s, %s: plan reads more than the running jobs:\n%s", name, mode, text)
			}
			_ = tx.Rollback(t.Context())
		}
	}
}
