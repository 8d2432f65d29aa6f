package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/internal/cli"
)

// These match a number and a noun that do not agree.
var (
	oneOfMany = regexp.MustCompile(`(?:^|[^0-9.,:/-])1 (?:\w+ )?(?:jobs|activities|rows|users|days|rejects|chunks|lines|imports|recalculations|workers|athletes|processes|transactions|TRIMPs|doubles|others)\b`)
	oneDo     = regexp.MustCompile(`(?:^|[^0-9.,:/-])1 (?:\w+ )?(?:job|activity|row|user|worker|athlete|import) (?:wait|are|have|were|differ|stay)\b`)
	manyOfOne = regexp.MustCompile(`\b[02-9] (?:job|activity|row|user|day|reject|chunk|line|recalculation|worker|athlete|process|transaction|TRIMP|double|other)\b`)
)

// TestNounsAgree runs the commands that print counts with none, one and two of everything.
func TestNounsAgree(t *testing.T) {
	pool := migrated(t)
	settings, err := cli.LoadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	check := func(n int, commands ...string) {
		t.Helper()
		for _, command := range commands {
			got := enqueue(t, strings.Fields(command)...)
			for _, wrong := range []*regexp.Regexp{oneOfMany, oneDo, manyOfOne} {
				if found := wrong.FindString(got.stdout + got.stderr); found != "" {
					t.Errorf("with %d of everything enqueue %s says %q:\n%s%s", n, command, found, got.stdout, got.stderr)
				}
			}
			if got.stdout+got.stderr == "" {
				t.Errorf("with %d of everything enqueue %s says nothing", n, command)
			}
		}
	}
	empty := file(t, "none.ndjson", `{"activity_id": 1, "date": "x"}`+"\n")
	seeing := []string{
		"status", "queues list", "jobs list", "jobs retry --user 7", "jobs cancel --state available", "jobs discard --state available --yes",
		"rejects list", "rejects retry --all", "rejects drop --all", "backfill list", "acwr --user 7", "acwr --compare", "acwr --compare --formula ewma",
		"trimp --user 7", "trimp --user 7 --resting-hr 60", "doubles list --user 7", "athlete implausible --user 7", "athlete purge --user 7", "tokens status",
	}
	check(0, append(seeing, "ingest --skip-invalid "+empty, "ingest --dry-run --skip-invalid "+empty)...)
	workingAs(t, pool, settings)
	for n := 1; n <= 2; n++ {
		activity := func(id, user int) string {
			return fmt.Sprintf(`{"activity_id": %d, "user_id": %d, "date": "2025-09-2%d", "total_load_miles": 900, "duration_minutes": 30, "avg_heart_rate": 140, "trimp": 3, "trimp_calculation_method": "average"}`, id, user, n) + "\n"
		}
		mine := file(t, "mine.ndjson", activity(n, 7)+`{"activity_id": 3, "date": "x"}`+"\n")
		others := file(t, "others.ndjson", activity(n, 20+n))
		check(n, "ingest --dry-run --skip-invalid "+mine, "ingest --wait --skip-invalid "+mine, "ingest --wait --skip-invalid "+mine, "ingest --dry-run "+others, "ingest --wait "+others,
			"recalc --user 7 --wait", "backfill --wait", "backfill status")
		execute(t, pool, `INSERT INTO river.river_job (kind, queue, args, max_attempts, state, scheduled_at, finalized_at)
			SELECT 'token_refresh', 'tokens', jsonb_build_object('user_ids', jsonb_build_array(7)), 1, state::river.river_job_state, now() + interval '1 hour', CASE WHEN state <> 'scheduled' THEN now() END
			FROM unnest('{scheduled,discarded,cancelled}'::text[]) AS state`)
		for _, queue := range []string{"ingest", "ingest_bulk"} { // a job of each lane waits
			execute(t, pool, `INSERT INTO river.river_job (kind, queue, args, max_attempts, state, scheduled_at)
				VALUES ('activity_ingest', '`+queue+`', '{"activities": [{"activity_id": 9, "user_id": 7, "date": "2025-09-01"}]}', 1, 'scheduled', now() + interval '1 hour')`)
		}
		check(n, seeing...)
	}
	check(2, "rejects retry --all --yes", "rejects drop --all --yes", "jobs retry --state discarded --yes", "jobs cancel --state scheduled --yes", "athlete purge --user 7 --yes")
}
