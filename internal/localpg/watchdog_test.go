package localpg

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestWatchdogRemovesOnlyOurs: the watchdog only removes directories that this package
// made, whatever its arguments.
func TestWatchdogRemovesOnlyOurs(t *testing.T) {
	t.Parallel()
	root := reachable(t)
	for name, marks := range map[string]struct {
		dir, file string
		removed   bool
	}{
		"ours":      {"trainingmonkey-pg-1", "temporary", true},
		"unmarked":  {"trainingmonkey-pg-2", "precious", false},
		"misnamed":  {"precious", "temporary", false},
		"kept":      {"trainingmonkey-pg-3", "keep", false},
		"with room": {"trainingmonkey-pg-4 * ; $x", "temporary", true},
	} {
		dir := filepath.Join(root, marks.dir)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, marks.file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if marks.file == "keep" {
			if err := os.WriteFile(filepath.Join(dir, "temporary"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", watchdogScript, "localpg", dir, "/bin/sh", "-c", "exit 7")
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != 7 {
			t.Errorf("%s: watchdog = %v, want the command's status 7", name, err)
		}
		_ = stdin.Close()
		if _, err := os.Stat(dir); os.IsNotExist(err) != marks.removed {
			t.Errorf("%s: Stat(%s) = %v, want removed %t", name, dir, err, marks.removed)
		}
	}
}
