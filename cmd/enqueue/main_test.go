package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// outcome is what the caller of a command gets.
type outcome struct {
	stdout, stderr string
	code           int
}

// enqueue runs the program on the database of DATABASE_URL.
func enqueue(t *testing.T, args ...string) outcome {
	t.Helper()
	return enqueueFrom(t, t.Context(), strings.NewReader(""), args...)
}

func enqueueFrom(t *testing.T, ctx context.Context, stdin io.Reader, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := cli.ExitCode(run(ctx, args, stdin, &stdout, &stderr), &stderr)
	return outcome{stdout.String(), stderr.String(), code}
}

// want fails the test unless the command ended with the code and printed the words, on
// stdout for code 0 and on stderr otherwise.
func (o outcome) want(t *testing.T, code int, words ...string) {
	t.Helper()
	said := o.stderr
	if code == 0 {
		said = o.stdout
	}
	if o.code != code {
		t.Errorf("exit code = %d, want %d", o.code, code)
	}
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("output lacks %q", w)
		}
	}
	if code != 0 && o.stdout != "" {
		t.Errorf("stdout = %q although it failed, want nothing", o.stdout)
	}
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", o.stdout, o.stderr)
	}
}

// migrated points DATABASE_URL at a new migrated database.
func migrated(t *testing.T) *dbpool.Pool {
	t.Helper()
	url := dbtest.MigratedURL(t)
	t.Setenv("DATABASE_URL", url)
	return dbtest.Open(t, url)
}

// nowhere is an address without a server, with a secret in it.
const (
	nowhere = "postgres://someone:" + secret + "@127.0.0.1:1/nothing"
	secret  = "s3cr3t"
)

// file writes a temporary file and returns its path.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func query[T any](t *testing.T, pool *dbpool.Pool, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

const (
	countJobs       = `SELECT count(*) FROM river.river_job`
	countActivities = `SELECT coalesce(sum(jsonb_array_length(args->'activities')), 0) FROM river.river_job`
)
