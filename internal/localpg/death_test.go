package localpg

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// child is another process with its own server.
type child struct {
	cmd  *exec.Cmd
	pid  int // of its server
	dir  string
	url  string
	wait func() error
}

func startChild(t *testing.T, dir string) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), executable(t))
	cmd.Env = append(os.Environ(), childMode+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, wait: cmd.Wait}
	t.Cleanup(func() {
		_ = stdin.Close() // the child ends without Stop
		_ = cmd.Wait()
		eventually(t, "server gone", func() bool { return !alive(c.pid) })
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(line, &c.pid, &c.dir, &c.url); err != nil {
		rest, _ := io.ReadAll(stdout)
		t.Fatalf("the child printed %s%s", line, rest)
	}
	return c
}

func TestServerDiesWithItsParent(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(pid int) error{
		"kill -9":           func(pid int) error { return syscall.Kill(pid, syscall.SIGKILL) },
		"SIGTERM":           func(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) },
		"Ctrl-C":            func(pid int) error { return syscall.Kill(-pid, syscall.SIGINT) },
		"terminal closed":   func(pid int) error { return syscall.Kill(-pid, syscall.SIGHUP) },
		"kill -9 the group": func(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startChild(t, "")
			if got := ask(t, c.url, "SELECT 'here'"); got != "here" {
				t.Fatalf("the child's server answers %s", got)
			}
			if err := kill(c.cmd.Process.Pid); err != nil {
				t.Fatal(err)
			}
			_ = c.wait()
			eventually(t, "server gone", func() bool { return !alive(c.pid) })
			eventually(t, "directory gone", func() bool {
				_, err := os.Stat(c.dir)
				return os.IsNotExist(err)
			})
			eventually(t, "watchdog gone", func() bool { return !strings.Contains(processes(t), c.dir) })
		})
	}
}

// TestKilledDuringStart: until a server is ready its marker "keep" protects it; the
// marker must not outlive the starter.
func TestKilledDuringStart(t *testing.T) {
	t.Parallel()
	for _, milestone := range []string{"data.new/PG_VERSION", "data/postmaster.pid"} {
		t.Run(filepath.Base(milestone), func(t *testing.T) {
			t.Parallel()
			tmp := reachable(t)
			if err := os.Chmod(tmp, 0o777); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), executable(t))
			cmd.Env = append(os.Environ(), childMode+"=", "TMPDIR="+tmp)
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, milestone, func() bool {
				found, _ := filepath.Glob(filepath.Join(tmp, "*", milestone))
				return len(found) == 1
			})
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			_ = stdin.Close()
			eventually(t, "directory gone", func() bool {
				left, err := os.ReadDir(tmp)
				return err == nil && len(left) == 0
			})
			eventually(t, "processes gone", func() bool { return !strings.Contains(processes(t), tmp) })
		})
	}
}

// TestTakeOverFromKilledProcess: a directory that the user named is kept, and can be
// used again at once: Start waits for the shutdown of the dead process's server.
func TestTakeOverFromKilledProcess(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	c := startChild(t, dir)
	store(t, c.url)
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.wait()
	s := startServer(t, Options{Dir: dir})
	if got := ask(t, s.URL(""), "SELECT what FROM kept"); got != "data" {
		t.Errorf("kept = %s, want data", got)
	}
	if s.URL("") != c.url {
		t.Errorf("URL() = %s, was %s before", s.URL(""), c.url)
	}
}

func TestServerCrash(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	s := startServer(t, Options{Dir: dir})
	store(t, s.URL(""))
	pid := postmaster(s)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.watch.done // the watchdog ends with its server
	stop(t, s)

	// postmaster.pid is stale now.
	if firstNumber(filepath.Join(dir, "data", "postmaster.pid")) != pid {
		t.Fatalf("postmaster.pid is gone, so the test would prove nothing")
	}
	s = startServer(t, Options{Dir: dir})
	if got := ask(t, s.URL(""), "SELECT what FROM kept"); got != "data" {
		t.Errorf("kept = %s, want data", got)
	}
}

func TestStopAfterServerCrash(t *testing.T) {
	t.Parallel()
	s := startServer(t, Options{})
	if err := syscall.Kill(postmaster(s), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-s.watch.done
	stop(t, s)
	gone(t, s.dir.path)
}

func executable(t *testing.T) string {
	t.Helper()
	skipInShort(t)
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func processes(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ps", "-eo", "args").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.TrimSpace(out))
}

// eventually polls, because it cannot wait on another process's events.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in 15s: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
