package localpg

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAsOrdinaryUser runs the tests as an ordinary user: a root test run repeats them
// under the server's account. Any other run is that case already, and only has to show
// that no other account is used.
func TestAsOrdinaryUser(t *testing.T) {
	t.Parallel()
	owner, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	if owner.credential == nil {
		s := startServer(t, Options{})
		info, err := os.Stat(s.dir.data())
		if err != nil {
			t.Fatal(err)
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; uid != uint32(os.Geteuid()) {
			t.Errorf("data belongs to uid %d, want %d", uid, os.Geteuid())
		}
		return
	}

	program := copyExecutable(t)
	cmd := exec.CommandContext(t.Context(), program, "-test.run="+
		"^(TestServer.*|TestTwoAtOnce|TestClusterPersists|TestDirectoryInUse|TestTakeOver.*|TestRestart|TestKilled.*|TestAsOrdinaryUser)$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner.credential}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("tests as %s: %v\n%s", owner.name, err, out)
	}
	if !strings.Contains(string(out), "--- PASS: TestAsOrdinaryUser") {
		t.Errorf("tests as %s did not run:\n%s", owner.name, out)
	}
}

// copyExecutable copies this program to where every user can run it. cp writes the
// copy, because a file that this process opened for writing could not be run while a
// fork of another test still has it open.
func copyExecutable(t *testing.T) string {
	t.Helper()
	to := filepath.Join(reachable(t), "localpg.test")
	if out, err := exec.CommandContext(t.Context(), "cp", executable(t), to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	if err := os.Chmod(to, 0o755); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestUnreachableTemporaryDirectory: the server's account cannot enter TMPDIR.
func TestUnreachableTemporaryDirectory(t *testing.T) {
	locked := t.TempDir()
	mode := os.FileMode(0o700) // for root only
	if os.Geteuid() != 0 {
		mode = 0
	}
	if err := os.Chmod(locked, mode); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(locked, 0o700) })
	t.Setenv("TMPDIR", locked)
	s := startServer(t, Options{})
	if !strings.HasPrefix(s.dir.path, "/tmp/trainingmonkey-pg-") {
		t.Errorf("directory = %s, want one in /tmp", s.dir.path)
	}
}

func TestUnreachableDirectory(t *testing.T) {
	locked := t.TempDir()
	if err := os.Chmod(locked, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(locked, "pg")
	if os.Geteuid() != 0 {
		if err := os.Mkdir(dir, 0); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Start(t.Context(), Options{Dir: dir})
	if !errors.Is(err, ErrCannotBeEntered) || !strings.Contains(err.Error(), "cannot be entered by user") {
		t.Errorf("Start() = %v, want it to say who cannot enter %s", err, dir)
	}
}
