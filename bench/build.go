package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// engineCommit is the last commit before the lanes. In its worker, the engine of
// the contestants engine_N, a job passes through three transactions.
const engineCommit = "8423893efb34da0d873d10940d447c79390ef359"

// build builds a command of this checkout, as it ships, into dir.
func build(ctx context.Context, dir, command string) (binary string, err error) {
	binary = filepath.Join(dir, command)
	_, err = output(ctx, "", nil, "go", "build", "-o", binary, "github.com/trainingmonkey/worker/cmd/"+command)
	return binary, err
}

// buildEngine builds the worker of engineCommit into dir, from the history of
// the repository and without a change to it.
func buildEngine(ctx context.Context, dir string) (binary string, err error) {
	top, err := output(ctx, "", nil, "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return "", fmt.Errorf("the contestants engine_N are built from the git history, and this is no clone: %w", err)
	}
	top = strings.TrimSpace(top)
	if _, err := output(ctx, top, nil, "git", "cat-file", "-e", engineCommit+"^{commit}"); err != nil {
		return "", fmt.Errorf("the contestants engine_N are built from commit %.7s, which this clone does not have; if it is shallow: git fetch --unshallow: %w", engineCommit, err)
	}
	source := filepath.Join(dir, "engine_source")
	if err := os.Mkdir(source, 0o755); err != nil {
		return "", err
	}
	binary = filepath.Join(dir, "engine")
	for _, step := range []struct {
		dir  string
		args []string
	}{
		{top, []string{"git", "archive", "--output", source + ".tar", engineCommit}},
		{source, []string{"tar", "-xf", source + ".tar"}},
		{source, []string{"go", "build", "-o", binary, "./cmd/worker"}},
	} {
		if _, err := output(ctx, step.dir, nil, step.args[0], step.args[1:]...); err != nil {
			return "", err
		}
	}
	return binary, nil
}

// output runs a command and returns what it prints. Its error has what the
// command complained of.
func output(ctx context.Context, dir string, environment []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), environment...)
	out, err := cmd.Output()
	if err != nil {
		complaint := ""
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			complaint = ": " + strings.TrimSpace(string(exit.Stderr))
		}
		return "", fmt.Errorf("%s %s: %w%s", filepath.Base(name), strings.Join(args, " "), err, complaint)
	}
	return string(out), nil
}

// buildEnqueuer builds the command that operate runs. It takes a while: before
// the clock starts.
func (r *rig) buildEnqueuer(ctx context.Context) (err error) {
	if r.enqueuer == "" {
		r.enqueuer, err = build(ctx, r.dir, "enqueue")
	}
	return err
}

// operate runs the command enqueue on a database, as an operator does, and
// returns what that took.
func (r *rig) operate(ctx context.Context, database string, args ...string) (seconds float64, err error) {
	started := time.Now()
	_, err = output(ctx, r.dir, []string{"DATABASE_URL=" + r.server.URL(database)}, r.enqueuer, args...)
	return time.Since(started).Seconds(), err
}
