package main

import (
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/test/commandtest"
)

// TestJSONIsDocumented compares every --json output, of a database with rows of every
// kind, with docs/json.md.
func TestJSONIsDocumented(t *testing.T) {
	pool := operated(t)
	stored(t, pool)
	provider := withTokens(t, pool, 8)
	provider.Revoke(8)
	settings, err := cli.LoadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	// No job of operated has this activity, so it keeps the date that is refused.
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, total_load_miles) VALUES (99, 7, '2025-04-20', 3)`)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, name, type, start_time, distance_miles, duration_minutes, total_load_miles, trimp)
		SELECT i, 9, '2025-02-20', 'Run', 'Run', '07:00:00', 6, 60, 6, 80 FROM generate_series(101, 102) AS i`)
	execute(t, pool, `ALTER TABLE activities ADD CONSTRAINT injected CHECK (user_id <> 7 OR date < '2025-03-01' OR acute_chronic_ratio IS NULL)`)
	execute(t, pool, `UPDATE river.river_job SET attempted_by = '{worker-1}', metadata = '{"injected": 1}' WHERE id = 8`)
	execute(t, pool, `INSERT INTO worker_processes (client_id, beat_at) VALUES ('worker-1', now())`)
	execute(t, pool, `UPDATE river.river_queue SET paused_at = now() WHERE name = 'backfill'`)
	documents := commandtest.JSONDocuments(t)
	ran := map[string]bool{}
	check := func(command string, args ...string) {
		t.Helper()
		ran[command] = true
		var printed []string
		for _, more := range args {
			got := enqueue(t, strings.Fields(strings.TrimPrefix(command, "enqueue ")+" "+more+" --json")...)
			printed = append(printed, got.stdout)
		}
		commandtest.CheckJSON(t, command, documents[command], printed...)
	}
	check("enqueue acwr", "--user 7")
	check("enqueue acwr --compare", "--user 7")
	check("enqueue doubles list", "--user 9")
	check("enqueue jobs list", "")
	check("enqueue jobs show", "8")
	check("enqueue jobs retry", "--state discarded")
	check("enqueue jobs cancel", "--state available")
	check("enqueue jobs discard", "--state available")
	check("enqueue rejects list", "")
	check("enqueue rejects show", "1")
	check("enqueue rejects retry", "--user 7 --yes")
	check("enqueue rejects drop", "--user 8")
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, sport_type, distance_miles, duration_minutes, total_load_miles, avg_heart_rate, trimp, trimp_calculation_method)
		VALUES (98, 9, '2025-01-01', 'running', 400, 60, 400, 150, 3, 'average')`)
	check("enqueue athlete implausible", "--user 9")
	check("enqueue trimp", "--user 9", "--user 9 --yes")
	check("enqueue athlete purge", "--user 9")
	execute(t, pool, `UPDATE river.river_queue SET paused_at = NULL`)

	workingAs(t, pool, settings)
	check("enqueue tokens refresh", "--user 1 --user 8 --wait")
	check("enqueue tokens status", "")
	check("enqueue backfill", "--wait")
	check("enqueue backfill list", "")
	check("enqueue backfill status", "")
	check("enqueue queues list", "")
	execute(t, pool, `INSERT INTO river.river_job (state, kind, queue, args, max_attempts, scheduled_at, errors)
		VALUES ('retryable', 'activity_ingest', 'ingest', '{"activities": [{"user_id": 7}]}', 25, now() + interval '1 hour', array[jsonb_build_object('error', 'fault injection')])`)
	check("enqueue status", "")
	check("enqueue ingest", "--wait "+sixtyDays(t), sixtyDays(t))
	for command := range documents {
		if strings.HasPrefix(command, "enqueue ") && !ran[command] {
			t.Errorf("%s is documented and was not run", command)
		}
	}
}
