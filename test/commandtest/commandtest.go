// Package commandtest runs the commands of this module as processes, for the
// tests that kill them.
package commandtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Commands is the directory of the built commands.
type Commands string

// Build builds cmd/worker and cmd/enqueue, for use in a TestMain. The calling package
// must be two directories below the module.
func Build(tags string) (commands Commands, remove func(), err error) {
	dir, err := os.MkdirTemp("", "commands")
	if err != nil {
		return "", nil, err
	}
	build := exec.CommandContext(context.Background(), "go", "build", "-tags", tags, "-o", dir, "../../cmd/worker", "../../cmd/enqueue")
	if out, err := build.CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return "", nil, fmt.Errorf("build the commands: %w\n%s", err, out)
	}
	return Commands(dir), func() { _ = os.RemoveAll(dir) }, nil
}

// Process is a running command.
type Process struct {
	*exec.Cmd
	mu     sync.Mutex
	output bytes.Buffer
	Done   chan struct{} // closed once the process has ended
}

// Write implements io.Writer for the command's output.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(b)
}

// Log returns what the command has written so far.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// environment returns the environment of a command on the database of url. Its working
// directory has no config.yaml, so its settings are the defaults, these, and a free
// port for the pages.
func environment(url string, settings ...string) []string {
	return append(append(os.Environ(), "DATABASE_URL="+url, "TMWORKER_OPERATIONS_LISTEN=127.0.0.1:0"), settings...)
}

// Start starts a command on the database of url, which is killed at the end of the test
// at the latest.
func (c Commands) Start(t testing.TB, url string, settings []string, name string, args ...string) *Process {
	t.Helper()
	p := &Process{Cmd: exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(string(c), name), args...), Done: make(chan struct{})}
	p.Env, p.Dir, p.Stdout, p.Stderr = environment(url, settings...), t.TempDir(), p, p
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Wait()
		close(p.Done)
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		<-p.Done
		if t.Failed() {
			t.Logf("%s %v:\n%s", name, args, p.Log())
		}
	})
	return p
}

// Signal sends a signal.
func (p *Process) Signal(t testing.TB, s os.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Exit waits for the end of the process and returns its exit code, -1 if a signal ended it.
func (p *Process) Exit(t testing.TB, within time.Duration) int {
	t.Helper()
	select {
	case <-p.Done:
		return p.ProcessState.ExitCode()
	case <-time.After(within):
		p.Signal(t, syscall.SIGQUIT)
		<-p.Done
		t.Fatalf("%v still ran after %v:\n%s", p.Args, within, p.Log())
		return 0
	}
}

// Run runs a command until it ends.
func (c Commands) Run(t testing.TB, url, name string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	command := exec.CommandContext(t.Context(), filepath.Join(string(c), name), args...)
	var out, errs bytes.Buffer
	command.Env, command.Dir, command.Stdout, command.Stderr = environment(url), t.TempDir(), &out, &errs
	err := command.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), command.ProcessState.ExitCode()
}
