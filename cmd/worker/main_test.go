package main

import (
	"bytes"
	"context"
	"io"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestMain gives every worker a free port.
func TestMain(m *testing.M) {
	_ = os.Setenv("TMWORKER_OPERATIONS_LISTEN", "127.0.0.1:0")
	dbtest.Main(m)
}

// outcome is what the caller of a command gets.
type outcome struct {
	stdout, stderr string
	code           int
}

// worker runs the program on the database of DATABASE_URL.
func worker(t *testing.T, args ...string) outcome {
	t.Helper()
	return workerUntil(t, "", args...)
}

// workerUntil interrupts the program once it has written the words to stdout or stderr.
func workerUntil(t *testing.T, words string, args ...string) outcome {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	watch := func(to *bytes.Buffer) io.Writer {
		return writerFunc(func(p []byte) (int, error) {
			if n, err := to.Write(p); err != nil || words == "" || !strings.Contains(to.String(), words) {
				return n, err
			}
			interrupt()
			return len(p), nil
		})
	}
	var stdout, stderr bytes.Buffer
	err := run(ctx, args, watch(&stdout), watch(&stderr))
	code := cli.ExitCode(err, &stderr)
	got := outcome{stdout.String(), stderr.String(), code}
	if u, err := url.Parse(os.Getenv("DATABASE_URL")); err == nil {
		if secret, ok := u.User.Password(); ok && strings.Contains(got.stdout+got.stderr, secret) {
			t.Errorf("worker %v printed the password", args)
		}
	}
	return got
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// want fails the test unless the command ended with the code and printed the words.
func (o outcome) want(t *testing.T, code int, words ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code = %d, want %d", o.code, code)
	}
	for _, w := range words {
		if !strings.Contains(o.stdout+o.stderr, w) {
			t.Errorf("output lacks %q", w)
		}
	}
	if (code != 0) != strings.Contains(o.stderr, "error: ") {
		t.Errorf("exit code %d and an error on stderr must come together", code)
	}
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", o.stdout, o.stderr)
	}
}

// nowhere is an address without a server.
const nowhere = "postgres://someone:s3cr3t@127.0.0.1:1/nothing"

func TestUsage(t *testing.T) {
	t.Setenv("DATABASE_URL", nowhere)
	for args, want := range map[string]string{
		"rnu":                             `unknown command "rnu" for "worker"; see: worker --help`,
		"run now":                         "see: worker run --help",
		"run --drian":                     "unknown flag: --drian; see: worker run --help",
		"migrate sideways":                `unknown command "sideways" for "worker migrate"; see: worker migrate --help`,
		"run --config absent.yaml":        "absent.yaml: no such file",
		"check --config absent.yaml":      "absent.yaml: no such file",
		"migrate up --config absent.yaml": "absent.yaml: no such file",
		"demo --config absent.yaml":       "absent.yaml: no such file",
		"dev --config absent.yaml":        "absent.yaml: no such file",
		"dev --dir somewhere":             "unset DATABASE_URL or leave out --dir",
	} {
		worker(t, strings.Fields(args)...).want(t, 2, want)
	}
	t.Setenv("TMWORKER_LOG_LEVEL", "loud")
	for _, args := range []string{"run", "check", "demo", "dev", "migrate up", "migrate status"} {
		worker(t, strings.Fields(args)...).want(t, 2, "TMWORKER_LOG_LEVEL: must be one of")
	}
	t.Setenv("TMWORKER_LOG_LEVEL", "info")
	t.Setenv("TMWORKER_DATABASE_MAX_CONNS", "5")
	for _, args := range []string{"run", "dev"} {
		worker(t, args).want(t, 2, "connection budget", "set database.max_conns to at least")
	}
	t.Setenv("DATABASE_URL", "host=127.0.0.1 dbname=nothing")
	worker(t, "demo").want(t, 2, "DATABASE_URL as a URL")
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"--help"}, {"help", "run"}, {"run", "-h"}, {"demo", "-h"}, {"dev", "-h"}, {"migrate"}, {"migrate", "up", "-h"}, {"check", "-h"}} {
		worker(t, args...).want(t, 0, "Usage:\n  worker")
	}
	got := worker(t, "version")
	got.want(t, 0)
	if strings.TrimSpace(got.stdout) == "" {
		t.Error("version prints nothing")
	}
}
