package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/test/commandtest"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// interruptedAt has the output at which commands that run until stopped are interrupted.
var interruptedAt = map[string]string{
	"worker run":         "ready",
	"worker dev":         "working until Ctrl-C",
	"worker demo --keep": "staying up until Ctrl-C",
}

// TestExamplesRun runs every example of every command's help, and every command of the
// README, unchanged except for what names this machine's: a configuration file, a role,
// the address of the database.
func TestExamplesRun(t *testing.T) {
	examples := commandtest.Examples(t, rootCommand(&cli.Program{Out: io.Discard, Err: io.Discard}))
	if len(examples) < 15 {
		t.Errorf("only %d examples found", len(examples))
	}
	config, err := filepath.Abs("../../config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMWORKER_TOKEN_KEYS", "k1:"+base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", tokens.KeyBytes))))
	here := t.TempDir()
	for _, dir := range []string{here, filepath.Dir(here)} { // only their owner can enter these, and root's server runs as another user
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(here)
	for _, example := range examples {
		t.Run(example, func(t *testing.T) {
			url := dbtest.MigratedURL(t)
			switch {
			case strings.Contains(example, "--dir"), strings.Contains(example, "--keep"):
				url = "" // they start their own server, and print how to connect
			case strings.Contains(example, "migrate"):
				url = dbtest.New(t)
			}
			t.Setenv("DATABASE_URL", url)
			command := strings.ReplaceAll(example, "/etc/trainingmonkey/config.yaml", config)
			for _, role := range []string{"--enqueue-role webapp", "--worker-role worker"} {
				if strings.Contains(command, role) {
					flag, _, _ := strings.Cut(role, " ")
					command = strings.ReplaceAll(command, role, flag+" "+newRole(t, url))
				}
			}
			words := ""
			for begins, says := range interruptedAt {
				if strings.HasPrefix(command, begins) && !strings.Contains(command, "--drain") {
					words = says
				}
			}
			got := workerUntil(t, words, strings.Fields(command)[1:]...)
			if got.code != 0 || got.stdout+got.stderr == "" {
				t.Errorf("exit code %d, want 0\nstdout:\n%s\nstderr:\n%s", got.code, got.stdout, got.stderr)
			}
			if !strings.Contains(got.stdout+got.stderr, words) {
				t.Errorf("it ended before it printed %q", words)
			}
			if strings.Contains(example, "--json") && !json.Valid([]byte(got.stdout)) {
				t.Errorf("not JSON: %s", got.stdout)
			}
		})
	}
}

// newRole creates a role that exists for the duration of the test.
func newRole(t *testing.T, url string) string {
	t.Helper()
	role := "webapp_" + strings.ToLower(rand.Text()[:10])
	pool := dbtest.Open(t, url)
	execute := func(sql string) {
		if _, err := pool.Exec(context.WithoutCancel(t.Context()), sql); err != nil {
			t.Error(err)
		}
	}
	execute(`CREATE ROLE ` + role)
	t.Cleanup(func() { execute(`DROP OWNED BY ` + role + `; DROP ROLE ` + role) })
	return role
}
