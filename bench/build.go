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

// build builds a command of this checkout, as it ships, into dir.
func build(ctx context.Context, dir, name string) (binary string, err error) {
	binary = filepath.Join(dir, name)
	err = command(ctx, "", nil, "go", "build", "-o", binary, "github.com/trainingmonkey/worker/cmd/"+name)
	return binary, err
}

// command runs a command. Its error has the command's standard error.
func command(ctx context.Context, dir string, environment []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), environment...)
	if _, err := cmd.Output(); err != nil {
		complaint := ""
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			complaint = ": " + strings.TrimSpace(string(exit.Stderr))
		}
		return fmt.Errorf("%s %s: %w%s", filepath.Base(name), strings.Join(args, " "), err, complaint)
	}
	return nil
}

// buildEnqueuer builds the command that operate runs, before any time is measured.
func (r *rig) buildEnqueuer(ctx context.Context) (err error) {
	if r.enqueuer == "" {
		r.enqueuer, err = build(ctx, r.dir, "enqueue")
	}
	return err
}

// operate runs an enqueue command on a database, as an operator does, and returns the
// seconds it took.
func (r *rig) operate(ctx context.Context, database string, args ...string) (seconds float64, err error) {
	started := time.Now()
	err = command(ctx, r.dir, []string{"DATABASE_URL=" + r.server.URL(database)}, r.enqueuer, args...)
	return time.Since(started).Seconds(), err
}
