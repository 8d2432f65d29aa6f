package endtoend

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/oracle"
	"github.com/trainingmonkey/worker/internal/pgtest"
)

// bin is where TestMain puts the commands.
var bin string

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("rapid.checks", "200"); err != nil {
		panic(err)
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "endtoend")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin = dir
	build := exec.CommandContext(context.Background(), "go", "build", "-o", dir, "../../cmd/worker", "../../cmd/enqueue")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the commands: %v\n%s", err, out)
		return 1
	}
	return pgtest.Run(m)
}

// process is a running command.
type process struct {
	*exec.Cmd
	mu     sync.Mutex
	stderr bytes.Buffer
	done   chan struct{}
	err    error
}

func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.Write(b)
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// environment is that of a command on the database of url. The working
// directory has no config.yaml, so settings are the defaults and these.
func environment(url string, settings ...string) []string {
	return append(append(os.Environ(), "DATABASE_URL="+url), settings...)
}

// start starts a command that is killed at the end of the test at the latest.
func start(t *testing.T, url string, settings []string, name string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(bin, name), args...), done: make(chan struct{})}
	p.Env, p.Dir, p.Stdout, p.Stderr = environment(url, settings...), t.TempDir(), p, p
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("%s %v:\n%s", name, args, p.log())
		}
	})
	return p
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// exit waits for the end of the process and returns its exit code, -1 when a
// signal ended it.
func (p *process) exit(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
		return p.ProcessState.ExitCode()
	case <-time.After(within):
		p.signal(t, syscall.SIGQUIT)
		<-p.done
		t.Fatalf("%v still ran after %v:\n%s", p.Args, within, p.log())
		return 0
	}
}

// command runs a command to its end.
func command(t *testing.T, url, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	c := exec.CommandContext(t.Context(), filepath.Join(bin, name), args...)
	var out, errs bytes.Buffer
	c.Env, c.Dir, c.Stdout, c.Stderr = environment(url), t.TempDir(), &out, &errs
	err := c.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

func query[T any](t testing.TB, pool *dbpool.Pool, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// eventually polls until ok, for at most the given time.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	started := time.Now()
	for !ok() {
		if time.Since(started) > within {
			t.Fatalf("%s: not within %v", what, within)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(started)
}

func unfinished(t testing.TB, pool *dbpool.Pool) int {
	t.Helper()
	return query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE state NOT IN ('completed', 'discarded', 'cancelled')`)
}

func checkOracle(t testing.TB, pool *dbpool.Pool, users ...int32) {
	t.Helper()
	wrong, total, err := oracle.Check(t.Context(), pool, users...)
	if err != nil {
		t.Fatal(err)
	}
	if total > 0 {
		t.Fatalf("%d rows are wrong, the first: %s", total, wrong[0])
	}
}
