package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShippedFileHasEveryKeyWithItsDefault(t *testing.T) {
	t.Parallel()
	const shipped = "../../config.yaml"
	got, err := Load(shipped, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), got); diff != "" {
		t.Errorf("config.yaml differs from the defaults (-default +file):\n%s", diff)
	}
	content, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	c := Default()
	for _, s := range c.settings() {
		section, name, _ := strings.Cut(s.key, ".")
		_, after, found := strings.Cut(string(content), "\n"+section+":")
		if !found || !strings.Contains(after, "\n  "+name+": ") {
			t.Errorf("config.yaml does not have %s", s.key)
		}
	}
}

func TestLoadNamesFileLineAndKey(t *testing.T) {
	t.Parallel()
	for content, want := range map[string]string{
		"database:\n  max_conn: 9\n":                        ":2: database.max_conn: unknown key; known here: max_conns",
		"databse:\n  max_conns: 9\n":                        ":1: databse: unknown key; known here: database",
		"batching:\n  transaction_timeout: 5\n":             `:2: batching.transaction_timeout: must be a duration from 100ms to 1m0s such as 250ms, 5s or 1h, got "5"`,
		"batching:\n  linger: 15ms\n":                       ":2: batching.linger: unknown key",
		"recovery:\n  dead_after: 8s\n":                     ":1: recovery: unknown key",
		"tokens:\n  lease: 1m\n":                            ":2: tokens.lease: this setting is gone, remove it; what holds now: a lease lasts six times tokens.http_timeout",
		"river:\n  completed_retention: 1s\n":               ":2: river.completed_retention: must be 0s, or a duration from 1m0s",
		"batching:\n  max_jobs: -3\n":                       `:2: batching.max_jobs: must be a whole number from 1 to 5000, got "-3"`,
		"batching:\n  max_jobs: [1]\n":                      ":2: batching.max_jobs: must be a plain value",
		"batching: 7\n":                                     ":1: batching: must be a section of keys",
		"log:\n  level: info\n  level: warn\n":              ":3: log.level: is set already in line 2",
		"acwr:\n  rounding: ceil\n":                         `:2: acwr.rounding: must be one of none, app, got "ceil"`,
		"river:\n  schema: \"a;b\"\n":                       ":2: river.schema: must be a schema name",
		"operations:\n  listen: 8080\n":                     `:2: operations.listen: must be host:port such as 127.0.0.1:8080, or empty, got "8080"`,
		"operations:\n  listen: 127.0.0.1:99999\n":          ":2: operations.listen: must be host:port",
		"operations:\n  password: hunter2\n":                ":2: operations.password: unknown key",
		"log:\n\tlevel: info\n":                             "line 2",
		"log:\n  level: info\n---\nlog:\n":                  "must hold one YAML document",
		"shutdown:\n  grace: 9s\n":                          "shutdown.grace (9s) must exceed batching.transaction_timeout (8s)",
		"tokens:\n  token_url: http://example.org/token\n":  ":2: tokens.token_url: must be an https URL",
		"tokens:\n  token_url: https://me:pw@example.org\n": ":2: tokens.token_url: must be an https URL without user and password",
		"tokens:\n  client_id: a b\n":                       ":2: tokens.client_id: must be at most 200 printable",
	} {
		file := filepath.Join(t.TempDir(), "config.yaml")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(file, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%q) = %v, want an error with %q", content, err, want)
		}
	}
}

func TestLoadReportsEveryFault(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("log:\n  level: loud\n  format: xml\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(file, []string{"TMWORKER_BATCHING_MAX_JOB=1", "TMWORKER_TOKENS_SAVE_BATCH=9"})
	for _, want := range []string{":2: log.level", ":3: log.format", "TMWORKER_BATCHING_MAX_JOB: unknown setting", "TMWORKER_TOKENS_SAVE_BATCH: this setting is gone"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load = %v, want an error with %q", err, want)
		}
	}
}

func TestEnvironmentOverridesFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("batching:\n  max_jobs: 10\nlog:\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Load(file, []string{
		"TMWORKER_BATCHING_MAX_JOBS=20", "DATABASE_URL=postgres://x", "HOME=/",
		"TMWORKER_OPERATIONS_USER=tom", "TMWORKER_OPERATIONS_PASSWORD=hunter2", "TMWORKER_OPERATIONS_LISTEN=",
	})
	if err != nil {
		t.Fatal(err)
	}
	if got.Batching.MaxJobs != 20 || got.DatabaseURL != "postgres://x" {
		t.Errorf("max_jobs = %d, url = %q, want 20 and postgres://x", got.Batching.MaxJobs, got.DatabaseURL)
	}
	if got.Operations.User != "tom" || got.Operations.Password != "hunter2" || got.Operations.Listen != "" {
		t.Errorf("operations = %+v, want the environment's", got.Operations)
	}
}

func TestLoadMissingFile(t *testing.T) {
	t.Parallel()
	if _, err := Load(filepath.Join(t.TempDir(), "absent.yaml"), nil); err == nil {
		t.Error("a named file that is missing must be an error")
	}
}

const someKey = "k1:a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="

func TestSecretsOfTokens(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("tokens:\n  client_id: \"7\"\n  http_timeout: 12s\n  token_url: http://127.0.0.1:9/token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, nil)
	if err != nil || c.RefreshesTokens() || c.MissingForTokens() != "TMWORKER_TOKEN_KEYS, TMWORKER_TOKENS_CLIENT_SECRET" {
		t.Errorf("without secrets: missing %q, %v", c.MissingForTokens(), err)
	}
	c, err = Load(file, []string{"TMWORKER_TOKEN_KEYS=" + someKey, "TMWORKER_TOKENS_CLIENT_SECRET=x"})
	if err != nil || !c.RefreshesTokens() || c.TokenKeys.Current() != "k1" {
		t.Errorf("with secrets: missing %q, %v", c.MissingForTokens(), err)
	}
	for environ, want := range map[string]string{
		"TMWORKER_TOKEN_KEYS=" + someKey + "x": "environment: TMWORKER_TOKEN_KEYS: key 1: must be 32 random bytes",
		"TMWORKER_TOKENS_HTTP_TIMEOUT=16s":     "shutdown.grace (25s) must exceed tokens.http_timeout (16s)",
	} {
		_, err := Load(file, append([]string{"TMWORKER_TOKEN_KEYS=" + someKey, "TMWORKER_TOKENS_CLIENT_SECRET=hidden"}, strings.Fields(environ)...))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "a2tra2") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("Load(%s) = %v, want %q", environ, err, want)
		}
	}
}

// TestRetentionTakesZero: zero deletes finished jobs at once.
func TestRetentionTakesZero(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("river:\n  completed_retention: 0s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(file, nil); err != nil || c.River.CompletedRetention != 0 {
		t.Errorf("completed_retention = %v, %v, want 0s", c.River.CompletedRetention, err)
	}
}
