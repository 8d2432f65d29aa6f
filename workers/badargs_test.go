package workers

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestActivityOfAnotherUserIsRejected(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	enqueue(t, pool, []jobs.Activity{run(1, 1, "2025-01-01", 5, 50)})
	drain(t, pool)
	enqueue(t, pool,
		[]jobs.Activity{run(1, 2, "2025-01-02", 9, 90), run(2, 2, "2025-01-02", 3, 30)},
		[]jobs.Activity{deletion(1, 2, "2025-01-01")},
		[]jobs.Activity{run(3, 1, "2025-01-03", 1, 10)}, // in one batch, the first one has it
		[]jobs.Activity{run(3, 2, "2025-01-03", 1, 10)},
	)
	drain(t, pool)
	if got, want := rows(t, pool), "1 1 2025-01-01 5; 2 2 2025-01-02 3; 3 1 2025-01-03 1"; got != want {
		t.Errorf("rows = %q, want %q", got, want)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM ingest_rejects WHERE reason = 'activity_id belongs to another user' AND user_id = 2`); got != 3 {
		t.Errorf("rejects = %d, want 3", got)
	}
	checkOracle(t, pool)
}

// TestInvalidActivityInAcceptedJob enqueues unvalidated activities by plain SQL.
func TestInvalidActivityInAcceptedJob(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	bad := []string{
		`{"user_id": 1, "date": "2025-01-01"}`,
		`{"activity_id": 2, "user_id": 1, "date": "2025-02-30"}`,
		`{"activity_id": 3, "user_id": 1, "date": "2025-01-01", "trimp": 1e39}`,
		`{"activity_id": 4, "user_id": 1, "date": "2025-01-01", "total_load_miles": "NaN"}`,
		`{"activity_id": 5, "user_id": 1, "date": "2025-01-01", "total_load_miles": -1}`,
		`{"activity_id": 6, "user_id": 3000000000, "date": "2025-01-01"}`,
		`{"activity_id": 7, "user_id": 1, "date": "2025-01-01", "trimp": 1e400}`,
		`"text"`, `null`, `[]`, `{}`,
		`{"activity_id": 8, "user_id": 1, "date": "2025-01-01", "trimp_calculation_method": "` + strings.Repeat("x", 21) + `"}`,
	}
	args := fmt.Sprintf(`{"activities": [%s, {"activity_id": 99, "user_id": 1, "date": "2025-01-01", "total_load_miles": 3, "later_field": true}]}`, strings.Join(bad, ","))
	execute(t, pool, `INSERT INTO river.river_job (args, kind, queue, max_attempts) VALUES ($1, 'activity_ingest', 'ingest', 25)`, args)
	drain(t, pool)
	if got, want := rows(t, pool), "99 1 2025-01-01 3"; got != want {
		t.Errorf("rows = %q, want %q", got, want)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM ingest_rejects WHERE reason <> '' AND job_id = (SELECT min(id) FROM river.river_job)`); got != len(bad) {
		t.Errorf("rejects = %d, want %d", got, len(bad))
	}
	if got := query[string](t, pool, `SELECT payload->>'date' FROM ingest_rejects WHERE activity_id = 2 AND user_id = 1`); got != "2025-02-30" {
		t.Errorf("payload kept = %q", got)
	}
	checkOracle(t, pool)
}

func TestArgsThatDoNotDecodeAreCancelled(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	bad := map[string][]string{
		"activity_ingest": {`{"activities": 7}`, `{"activities": []}`, `{}`, `[]`, `"x"`},
		"acwr_recalc":     {`{"ranges": []}`, `{"ranges": [{"user_id": 1, "from": "2025-02-30", "to": "2025-03-01"}]}`, `{"ranges": [{"user_id": 1, "from": "2025-03-02", "to": "2025-03-01"}]}`},
	}
	n := 0
	for kind, list := range bad {
		queue := map[string]string{"activity_ingest": "ingest", "acwr_recalc": "recalc"}[kind]
		for _, args := range list {
			n++
			execute(t, pool, `INSERT INTO river.river_job (args, kind, queue, max_attempts) VALUES ($1, $2, $3, 25)`, args, kind, queue)
		}
	}
	enqueue(t, pool, []jobs.Activity{run(1, 1, "2025-01-01", 5, 50)})
	drain(t, pool)
	if got := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE state = 'cancelled' AND errors[1]->>'error' LIKE '%do not decode%'`); got != n {
		t.Errorf("cancelled with the reason = %d, want %d", got, n)
	}
	checkOracle(t, pool)
}
