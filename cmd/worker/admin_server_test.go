package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestUnprotectedPagesAreRefused(t *testing.T) {
	t.Setenv("DATABASE_URL", nowhere)
	t.Setenv("TMWORKER_OPERATIONS_LISTEN", "0.0.0.0:0")
	for _, args := range []string{"run", "dev"} {
		worker(t, args).want(t, 2, "operations.listen (0.0.0.0:0) can be reached from other machines: set TMWORKER_OPERATIONS_USER and TMWORKER_OPERATIONS_PASSWORD")
	}
	t.Setenv("TMWORKER_OPERATIONS_USER", "operator")
	worker(t, "run").want(t, 2, "go together")
	t.Setenv("TMWORKER_OPERATIONS_PASSWORD", "injected password")
	got := worker(t, "run")
	got.want(t, 1, "connect to")
	if bytes.Contains([]byte(got.stdout+got.stderr), []byte("injected password")) {
		t.Error("the password is printed")
	}
}

// takePort occupies the port that the worker is to listen on, and returns its address.
func takePort(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	t.Setenv("TMWORKER_OPERATIONS_LISTEN", listener.Addr().String())
	return listener.Addr().String()
}

func TestPortInUse(t *testing.T) {
	t.Setenv("DATABASE_URL", dbtest.MigratedURL(t))
	takePort(t)
	worker(t, "run").want(t, 1, "operations.listen: listen tcp", "address already in use", "another worker on this machine needs another port")
	t.Setenv("TMWORKER_OPERATIONS_LISTEN", "")
	workerUntil(t, `"msg":"working"`, "run").want(t, 0, `"msg":"stopped"`)
}

// TestDevTakesAnotherPort: if the usual one is taken; it prints where the page is.
func TestDevTakesAnotherPort(t *testing.T) {
	t.Setenv("DATABASE_URL", dbtest.MigratedURL(t))
	taken := takePort(t)
	got := workerUntil(t, `"msg":"working"`, "dev")
	got.want(t, 0, "the status page is at http://127.0.0.1:")
	if bytes.Contains([]byte(got.stdout), []byte(taken)) {
		t.Errorf("the printed address has the port that is taken: %s", got.stdout)
	}
	t.Setenv("DATABASE_URL", "")
	workerUntil(t, "the status page is at http://127.0.0.1:", "demo", "--keep").want(t, 0)
}

// TestRunServesOperations takes the address from the log, like an operator.
func TestRunServesOperations(t *testing.T) {
	t.Setenv("DATABASE_URL", dbtest.MigratedURL(t))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	log, writer := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"run"}, io.Discard, writer)
		_ = writer.Close()
	}()
	decoder := json.NewDecoder(log)
	var line struct{ Msg, Address string }
	for line.Msg != "ready" {
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, log) }()
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/": 200, "/river/": 200, "/nowhere": 404} {
		if got := status(t, "http://"+line.Address+path); got != want {
			t.Errorf("%s = %d, want %d", path, got, want)
		}
	}
	stop()
	if code := cli.ExitCode(<-ended, io.Discard); code != 0 {
		t.Errorf("exit code = %d, want 0", code)
	}
}

func status(t *testing.T, address string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(fmt.Errorf("%s: %w", address, err))
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode
}
