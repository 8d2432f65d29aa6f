package main

import (
	"fmt"
	"time"

	"github.com/trainingmonkey/worker/internal/admin"
)

// orDash formats a number, nil as a dash.
func orDash[N any](format string, n *N) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprintf(format, *n)
}

// ago formats the time since t.
func ago(t time.Time) string { return admin.HumanReadable(max(0, time.Since(t))) }

// writeNewest prints a list of the newest things of a kind, and a note if there are
// none, or possibly more than the limit.
func (p *program) writeNewest(things, header string, rows []string, limit int) {
	if len(rows) == 0 {
		p.Printf("no such %s\n", things)
		return
	}
	p.Table(header, rows)
	if len(rows) == limit {
		p.Warnf("there may be more; see --limit\n")
	}
}
