// Package doctor finds problems that keep a worker from working with a database, now
// or soon: what each is, why it matters, and how to fix it.
//
// Rule: it changes nothing, and every query follows an index, except that rows are counted
// in a table that has lost its key.
package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/config"
)

// Finding is the result of one check.
type Finding struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`    // false: a worker would not work, or not correctly
	About string `json:"about"` // what was found
	Why   string `json:"why"`   // why it matters; empty if all is well
	Cure  string `json:"cure"`  // a statement, a command or a setting; empty if all is well
}

// JobIDs is the check whose failure a starting worker fixes by itself.
const JobIDs = "job ids"

// Warns reports whether something should be done although a worker would work.
func (f Finding) Warns() bool { return f.OK && f.Cure != "" }

// Err returns nil if a worker would work.
func (f Finding) Err() error {
	if f.OK {
		return nil
	}
	text := f.Check + ": " + f.About
	if f.Cure != "" {
		text += "; " + f.Cure
	}
	return fmt.Errorf("%s", text)
}

func fine(check, about string, args ...any) Finding {
	return Finding{Check: check, OK: true, About: fmt.Sprintf(about, args...)}
}

// Examine checks everything that a worker depends on, without stopping at the
// first fault. ctx bounds it.
func Examine(ctx context.Context, pool *dbpool.Pool, settings config.Config) []Finding {
	between, standsBetween := examineWay(ctx, pool, settings.River.PollOnly)
	server, slots := examineServer(ctx, pool, settings)
	findings := append([]Finding{between}, server...)
	findings = append(findings, examineSession(ctx, pool, standsBetween), examineVacuum(ctx, pool, admin.HeldBackFor))
	migrated := examineMigrations(ctx, pool, settings)
	findings = append(findings, migrated)
	if !migrated.OK {
		return findings
	}
	findings = append(findings,
		examinePrivileges(ctx, pool, settings),
		examineWrites(ctx, pool),
		examineWorkers(ctx, pool, slots, settings.Database.MaxConns+settings.Listeners()),
		examineJobIDs(ctx, pool, settings),
	)
	return append(findings, examineUpkeep(ctx, pool, settings)...)
}

// sentence joins the texts of several findings.
func sentence(parts []string) string { return strings.Join(parts, "; ") }
