package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
)

// sixtyDays returns a file with activities of user 7, whom a rollout of 1 percent excludes.
func sixtyDays(t *testing.T) string {
	t.Helper()
	var lines strings.Builder
	for i := range 60 {
		fmt.Fprintf(&lines, "{\"activity_id\": %d, \"user_id\": 7, \"date\": \"2025-%02d-%02d\", \"total_load_miles\": 5}\n", i+1, 1+i/20, 1+i%20)
	}
	return file(t, "days.ndjson", lines.String())
}

// TestStatusSaysWhatIsNotWritten: sixty activities are stored without results, because
// the workers do not write them. The command's own settings differ from the workers'.
func TestStatusSaysWhatIsNotWritten(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*config.ACWR)
		headline string
		mode     string
	}{
		"compare": {func(a *config.ACWR) { a.Write = "compare" }, "Results are not written. ", "compare"},
		"off":     {func(a *config.ACWR) { a.Write = "off" }, "", "off"},
		"rollout": {func(a *config.ACWR) { a.RolloutPercent = 1 }, "Results are written for 1 % of the athletes. ", "on"},
	} {
		t.Run(name, func(t *testing.T) {
			pool := migrated(t)
			settings, err := cli.LoadConfig("")
			if err != nil {
				t.Fatal(err)
			}
			c.change(&settings.ACWR)
			workingAs(t, pool, settings)
			enqueue(t, "ingest", sixtyDays(t)).want(t, 0)
			eventually(t, func() bool { return query[int](t, pool, `SELECT count(*) FROM activities`) == 60 })
			if name != "off" { // off leaves the queue alone
				eventually(t, func() bool {
					return query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE kind = 'acwr_recalc' AND state <> 'completed'`) == 0
				})
			}
			if n := query[int](t, pool, `SELECT count(*) FROM activities WHERE acute_chronic_ratio IS NULL`); n != 60 {
				t.Fatalf("%d rows have no results, want all 60", n)
			}
			got := enqueue(t, "status")
			got.want(t, 0, c.headline, "60 rows have no results", "acwr."+map[bool]string{true: "rollout_percent", false: "write"}[name == "rollout"])
			for _, never := range []string{"all is well", "is right", "Fresh"} {
				if strings.Contains(got.stdout, never) {
					t.Errorf("status says %q:\n%s", never, got.stdout)
				}
			}
			var shown struct {
				Writing struct {
					Mode           string `json:"mode"`
					RolloutPercent *int   `json:"rollout_percent"`
					Rows           int64  `json:"rows_without_results"`
				} `json:"writing"`
			}
			if err := json.Unmarshal([]byte(enqueue(t, "status", "--json").stdout), &shown); err != nil {
				t.Fatal(err)
			}
			if w := shown.Writing; w.Mode != c.mode || w.RolloutPercent == nil || *w.RolloutPercent != settings.ACWR.RolloutPercent || w.Rows != 60 {
				t.Errorf("status --json has %+v, want mode %s, %d percent and 60 rows", w, c.mode, settings.ACWR.RolloutPercent)
			}

			table := enqueue(t, "acwr", "--user", "7", "--to", "2025-03-20")
			table.want(t, 0, "* not stored yet, or stored otherwise: ")
			if strings.Contains(table.stdout, "still to come") {
				t.Errorf("acwr promises a recalculation that would write nothing:\n%s", table.stdout)
			}
			if name == "off" {
				return
			}
			recalculated := enqueue(t, "recalc", "--user", "7", "--wait")
			recalculated.want(t, 0, "nothing was written")
			if strings.Contains(recalculated.stdout, "right") {
				t.Errorf("recalc calls unwritten results correct: %s", recalculated.stdout)
			}
			again := enqueue(t, "ingest", "--wait", sixtyDays(t))
			again.want(t, 0, "stored")
			if strings.Contains(again.stdout, "is right") {
				t.Errorf("ingest calls unwritten results correct: %s", again.stdout)
			}
		})
	}
}

// TestWorkersThatDiffer: the status has the live workers' settings, and says if they
// differ or one does not report its own.
func TestWorkersThatDiffer(t *testing.T) {
	pool := migrated(t)
	execute(t, pool, `INSERT INTO worker_processes (client_id, beat_at, acwr_write, acwr_rollout_percent) VALUES
		('a', now(), 'on', 100), ('b', now(), 'on', 10), ('c', now(), 'compare', 100), ('d', now(), NULL, NULL), ('dead', now() - interval '1 hour', 'off', 100)`)
	enqueue(t, "status").want(t, 0, "Workers differ. ", "1 on, 1 on for 10 % of the athletes, 1 compare, 1 does not say")
	execute(t, pool, `UPDATE worker_processes SET acwr_write = 'on', acwr_rollout_percent = 100 WHERE client_id <> 'dead'`)
	enqueue(t, "status").want(t, 0, "Fresh. ")
	execute(t, pool, `UPDATE worker_processes SET acwr_write = NULL, acwr_rollout_percent = NULL WHERE client_id <> 'dead'`)
	enqueue(t, "status").want(t, 0, "Not known whether results are written. ")
}
