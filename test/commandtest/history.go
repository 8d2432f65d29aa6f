package commandtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// engineBeforeLanes is the last commit whose jobs River fetched; each job went through
// three transactions.
const engineBeforeLanes = "8423893efb34da0d873d10940d447c79390ef359"

// BuildEngineBeforeLanes builds the worker of that commit into dir, from the repository's
// history and without touching its files. A shallow clone fetches the missing history.
func BuildEngineBeforeLanes(ctx context.Context, dir string) (binary string, err error) {
	top, err := output(ctx, "", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return "", fmt.Errorf("the engine before lanes is built from the git history, and this is no clone: %w", err)
	}
	top = strings.TrimSpace(top)
	if _, err := output(ctx, top, "git", "cat-file", "-e", engineBeforeLanes+"^{commit}"); err != nil {
		if _, err := output(ctx, top, "git", "fetch", "--unshallow"); err != nil {
			return "", fmt.Errorf("the engine before lanes is commit %.7s, which this clone does not have: %w", engineBeforeLanes, err)
		}
	}
	source := filepath.Join(dir, "engine-source")
	if err := os.Mkdir(source, 0o755); err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "engine", "worker")
	for _, step := range []struct {
		dir  string
		args []string
	}{
		{top, []string{"git", "archive", "--output", source + ".tar", engineBeforeLanes}},
		{source, []string{"tar", "-xf", source + ".tar"}},
		{source, []string{"go", "build", "-o", binary, "./cmd/worker"}},
	} {
		if _, err := output(ctx, step.dir, step.args[0], step.args[1:]...); err != nil {
			return "", err
		}
	}
	return binary, os.RemoveAll(source)
}

// output runs a command in a directory and returns its stdout. Its error includes stderr.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		complaint := ""
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			complaint = ": " + strings.TrimSpace(string(exit.Stderr))
		}
		return "", fmt.Errorf("%s %s: %w%s", name, strings.Join(args, " "), err, complaint)
	}
	return string(out), nil
}
