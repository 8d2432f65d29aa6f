package localpg

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// initialise creates the cluster. It is filled under another name, so that data is
// complete if it exists, and initdb runs again if it was killed.
func (d *directory) initialise(ctx context.Context, bin string) error {
	fresh := d.data() + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return err
	}
	if err := d.owner.give(fresh); err != nil {
		return err
	}
	argv := []string{
		filepath.Join(bin, "initdb"),
		"--pgdata=" + fresh,
		"--username=" + superuser,
		"--pwfile=" + filepath.Join(d.path, "password"),
		"--auth=scram-sha-256",
		"--encoding=UTF8",
		"--locale=C",
	}
	if d.temporary {
		argv = append(argv, "--no-sync")
	}
	w, err := watch(ctx, d, argv...)
	if err != nil {
		return err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		_ = w.stop(context.WithoutCancel(ctx), quit)
		return fmt.Errorf("initdb in %s: %w", d.path, ctx.Err())
	}
	_ = w.stop(ctx, quit) // closes the pipe
	if w.err != nil {
		return fmt.Errorf("initdb in %s: %w; its output ends:\n%s", d.path, w.err, d.logSince(0))
	}
	return os.Rename(fresh, d.data())
}
