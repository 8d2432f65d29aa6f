package main

import (
	"archive/zip"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/test/commandtest"
)

// TestExamplesRun runs every example of every command's help, and every command of the
// README, unchanged. Everything they name exists.
func TestExamplesRun(t *testing.T) {
	examples := commandtest.Examples(t, rootCommand(&program{}))
	if len(examples) < 50 {
		t.Errorf("only %d examples found", len(examples))
	}
	pool := migrated(t)
	withTokens(t, pool, 8)
	settings, err := cli.LoadConfig("")
	if err != nil {
		t.Fatal(err)
	}
	inDirectoryOfExports(t)
	for _, example := range examples {
		t.Run(example, func(t *testing.T) {
			prepare(t, pool, example)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if strings.Contains(example, "--watch") {
				ctx, cancel = context.WithTimeout(t.Context(), time.Second)
			}
			defer cancel()
			if strings.Contains(example, "--wait") {
				workingAs(t, pool, settings)
			}
			stdin, command, piped := strings.Cut(example, " | ")
			if !piped {
				stdin, command = "", example
			}
			stdin = strings.Trim(strings.TrimPrefix(stdin, "echo "), "'")
			got := enqueueFrom(t, ctx, strings.NewReader(stdin), strings.Fields(command)[1:]...)
			want := 0
			switch {
			case strings.Contains(example, "--check"):
				want = 1 // no worker is alive
			case example == "enqueue rejects retry --user 7 --yes":
				want = 1 // one is still invalid
			}
			if got.code != want || (got.stdout == "" && want == 0) {
				t.Errorf("exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", got.code, want, got.stdout, got.stderr)
			}
			if strings.Contains(example, "--json") && !json.Valid([]byte(got.stdout)) {
				t.Errorf("not JSON: %s", got.stdout)
			}
		})
	}
}

// inDirectoryOfExports changes to a directory with an activities.csv and an export.zip
// like Strava's.
func inDirectoryOfExports(t *testing.T) {
	t.Helper()
	csv, err := os.ReadFile("../../internal/activityfile/testdata/activities.csv")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("activities.csv", csv, 0o600); err != nil {
		t.Fatal(err)
	}
	archive, err := os.Create("export.zip")
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(archive)
	member, err := w.Create("activities.csv")
	if err == nil {
		_, err = member.Write(csv)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
}

// prepare creates the jobs, rejects, activities and backfills that examples name, in
// states that the example can change.
func prepare(t *testing.T, pool *dbpool.Pool, example string) {
	t.Helper()
	refill(t, pool)
	stored(t, pool)
	execute(t, pool, `UPDATE river.river_job SET id = id + 34 WHERE state IN ('discarded', 'retryable')`) // 42 and 37
	if strings.Contains(example, "jobs cancel") || strings.Contains(example, "jobs discard") {
		execute(t, pool, `UPDATE river.river_job SET state = 'retryable', finalized_at = NULL WHERE id = 42`)
		execute(t, pool, `UPDATE river.river_job SET id = 43 WHERE state = 'pending'`)
	}
	if strings.Contains(example, "athlete purge") { // a purge waits for jobs that are being worked
		execute(t, pool, `UPDATE river.river_job SET state = 'completed', finalized_at = now() WHERE state = 'running'`)
	}
	execute(t, pool, `UPDATE ingest_rejects SET activity_id = 34 WHERE id = 3`)
	execute(t, pool, `TRUNCATE acwr_backfills RESTART IDENTITY CASCADE`)
	execute(t, pool, `INSERT INTO acwr_backfills (state, planned) VALUES ('cancelled', true), ('cancelled', true), ('running', true)`)
}
