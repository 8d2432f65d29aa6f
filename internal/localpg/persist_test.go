package localpg

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestClusterPersists(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	s := startServer(t, Options{Dir: dir, Settings: map[string]string{"work_mem": "7MB"}})
	before := s.URL("")
	store(t, before)
	if got := ask(t, before, "SHOW work_mem"); got != "7MB" {
		t.Errorf("work_mem = %s, want 7MB", got)
	}
	stop(t, s)

	info, err := os.Stat(filepath.Join(dir, "password"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("password file has mode %o, want 600", info.Mode().Perm())
	}

	s = startServer(t, Options{Dir: dir})
	if after := s.URL(""); after != before {
		t.Errorf("URL() = %s, was %s before", after, before)
	}
	if got := ask(t, s.URL(""), "SELECT what FROM kept"); got != "data" {
		t.Errorf("kept = %s, want data", got)
	}
	if got := ask(t, s.URL(""), "SHOW work_mem"); got != "4MB" {
		t.Errorf("work_mem = %s, want PostgreSQL's 4MB: settings apply to one start", got)
	}
}

func TestDirectoryInUse(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	c := startChild(t, dir)
	_, err := Start(t.Context(), Options{Dir: dir})
	want := fmt.Sprintf("directory %s is in use by process %d", dir, c.cmd.Process.Pid)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Start() = %v, want %q", err, want)
	}
	if got := ask(t, c.url, "SELECT 'here'"); got != "here" {
		t.Errorf("the first server answers %s", got)
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"", clusterDir(t)} {
		s := startServer(t, Options{Dir: dir})
		url := s.URL("")
		store(t, url)
		for immediate, want := range map[bool]string{
			false: "database system was shut down at",
			true:  "database system was not properly shut down",
		} {
			before, mark := postmaster(s), s.dir.logSize()
			if err := s.Restart(t.Context(), immediate); err != nil {
				t.Fatal(err)
			}
			if alive(before) || postmaster(s) == before {
				t.Errorf("Restart(%t) left process %d", immediate, before)
			}
			if got := ask(t, url, "SELECT what FROM kept"); got != "data" {
				t.Errorf("after Restart(%t): kept = %s, want data", immediate, got)
			}
			log, err := os.ReadFile(filepath.Join(s.dir.path, "server.log"))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(log[mark:]), want) {
				t.Errorf("Restart(%t) logs\n%s\nwant %q", immediate, log[mark:], want)
			}
		}
		path := s.dir.path
		stop(t, s)
		if dir == "" {
			gone(t, path)
		}
	}
}

// TestHalfMadeClusterIsMadeAgain: a killed initdb leaves data.new; the next Start
// repeats it.
func TestHalfMadeClusterIsMadeAgain(t *testing.T) {
	t.Parallel()
	dir := clusterDir(t)
	if err := os.MkdirAll(filepath.Join(dir, "data.new", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := startServer(t, Options{Dir: dir})
	if got := ask(t, s.URL(""), "SELECT 'here'"); got != "here" {
		t.Errorf("server answers %s", got)
	}
}

func TestLongPathHasNoSocket(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(clusterDir(t), strings.Repeat("long", 30))
	s := startServer(t, Options{Dir: dir})
	if got := ask(t, s.URL(""), "SHOW unix_socket_directories"); got != "" {
		t.Errorf("unix_socket_directories = %s, want none", got)
	}
}
