package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestBackfillIsFollowedToItsEnd(t *testing.T) {
	pool := migrated(t)
	stored(t, pool)
	enqueue(t, "backfill", "status").want(t, 1, "there is no backfill; start one with: enqueue backfill")
	enqueue(t, "backfill").want(t, 0, "started backfill 1\nfollow it with: enqueue backfill status 1 --wait\n")
	enqueue(t, "backfill").want(t, 1, "backfill 1 of the same scope is not finished", "enqueue backfill status 1 --wait", "--force")
	enqueue(t, "backfill", "status").want(t, 0, "backfill 1 (everyone): running, still being planned")

	working(t, pool)
	enqueue(t, "backfill", "status", "1", "--wait").want(t, 0, "backfill 1 (everyone): finished\n1 of 1 user, 3 of 3 rows, 1 changed, in ")
	enqueue(t, "backfill", "--user", "7", "--user", "8", "--from", "2025-03-01", "--wait").want(t, 0,
		"started backfill 2\n", "backfill 2 (2 users from 2025-03-01): finished\n1 of 1 user", "0 changed")

	var listed []map[string]any
	list := enqueue(t, "backfill", "list", "--json")
	if err := json.Unmarshal([]byte(list.stdout), &listed); err != nil || len(listed) != 2 || listed[0]["id"] != 2.0 {
		t.Errorf("list --json = %s (%v), want backfills 2 and 1", list.stdout, err)
	}
	enqueue(t, "backfill", "list").want(t, 0, "ID  STATE", "finished  everyone", "3 of 3")
}

func TestBackfillOfPoisonedDataSaysSo(t *testing.T) {
	pool := migrated(t)
	stored(t, pool)
	if _, err := pool.Exec(t.Context(), `ALTER TABLE activities ADD CONSTRAINT poison CHECK (user_id <> 7 OR date < '2025-02-01' OR acute_chronic_ratio IS NULL)`); err != nil {
		t.Fatal(err)
	}
	working(t, pool)
	got := enqueue(t, "backfill", "--wait", "--json")
	if got.code != 1 || !strings.Contains(got.stderr, "1 chunk of backfill 1 failed; once the reason is gone: enqueue backfill resume 1") {
		t.Errorf("exit code %d, %s", got.code, got.stderr)
	}
	var b shownBackfill
	if err := json.Unmarshal([]byte(got.stdout), &b); err != nil || b.FailedChunks != 1 || len(b.Failures) != 1 || !strings.Contains(b.Failures[0].Reason, "poison") {
		t.Errorf("--json = %s (%v), want the failure with its reason", got.stdout, err)
	}
}

func TestBackfillStates(t *testing.T) {
	stored(t, migrated(t))
	enqueue(t, "backfill").want(t, 0)
	enqueue(t, "backfill", "pause").want(t, 0, "backfill 1 is paused; go on with: enqueue backfill resume 1")
	enqueue(t, "backfill", "status").want(t, 0, "backfill 1 (everyone): paused")
	enqueue(t, "backfill", "resume", "1").want(t, 0, "backfill 1 is running; follow it with: enqueue backfill status 1 --wait")
	enqueue(t, "backfill", "cancel", "1").want(t, 0, "backfill 1 is cancelled")
	enqueue(t, "backfill", "resume", "1").want(t, 1, "backfill 1: it was cancelled; start another one")
	enqueue(t, "backfill", "pause", "9").want(t, 1, "backfill 9: no such backfill")
	enqueue(t, "backfill").want(t, 0, "started backfill 2")
}

func TestBackfillUsage(t *testing.T) {
	t.Setenv("DATABASE_URL", nowhere)
	for args, want := range map[string]string{
		"--user 0 --from 2025-13-01":        `--user must be a positive id, got 0`,
		"--from 2025-02-01 --to 2025-01-01": "--to 2025-01-01 lies before --from 2025-02-01",
		"status x":                          `the ID of a backfill is a positive number, got "x"`,
		"pause 0":                           `the ID of a backfill is a positive number, got "0"`,
		"list --limit 0":                    "--limit must be positive",
		"--user seven":                      "seven",
		"status 1 2":                        "accepts at most 1 arg",
	} {
		enqueue(t, append([]string{"backfill"}, strings.Fields(args)...)...).want(t, 2, want)
	}
}

func TestInterruptedWaitForABackfill(t *testing.T) {
	stored(t, migrated(t))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	got := enqueueFrom(t, ctx, strings.NewReader(""), "backfill", "--wait", "--json")
	got.want(t, 1, "no longer waiting; backfill 1 goes on. Come back with: enqueue backfill status 1 --wait")
}
