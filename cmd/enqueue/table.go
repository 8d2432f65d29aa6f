package main

import (
	"fmt"
	"time"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/cli"
)

// orDash is the number, or a dash for none.
func orDash(n *int64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

// ago is how long something is past.
func ago(t time.Time) string { return admin.HumanReadable(max(0, time.Since(t))) }

// writeNewest prints a listing of the newest things of a kind, and a note if there are
// none or may be more than the limit.
func writeNewest(io streams, things, header string, rows []string, limit int) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(io.out, "no such "+things)
		return err
	}
	if err := cli.WriteTable(io.out, header, rows); err != nil {
		return err
	}
	if len(rows) == limit {
		_, _ = fmt.Fprintln(io.err, "there may be more; see --limit")
	}
	return nil
}
