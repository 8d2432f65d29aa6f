// Package doctor finds out what keeps a worker from working with a database, or
// is going to: what it is, why it matters, and what cures it.
//
// Rule: it changes nothing, and everything that it asks follows an index.
package doctor

import (
	"context"
	"fmt"
	"strings"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
)

// Finding is one thing that was looked at.
type Finding struct {
	Check string `json:"check"`
	OK    bool   `json:"ok"`    // false: a worker would not work, or not right
	About string `json:"about"` // what was found
	Why   string `json:"why"`   // it matters; empty where all is well
	Cure  string `json:"cure"`  // a statement, a command or a setting; empty where all is well
}

// JobIDs is the check that a worker which starts cures by itself.
const JobIDs = "job ids"

// Warns tells whether something should be done although a worker would work.
func (f Finding) Warns() bool { return f.OK && f.Cure != "" }

// Err is nil where a worker would work.
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

// unknown is the finding where asking failed.
func unknown(check string, err error) Finding { return Finding{Check: check, About: err.Error()} }

// Examine looks at everything that a worker depends on and does not stop at the
// first fault. ctx bounds it.
func Examine(ctx context.Context, pool *dbpool.Pool, settings config.Config) []Finding {
	between, standsBetween := examineWay(ctx, pool, settings.River.PollOnly)
	server, slots := examineServer(ctx, pool, settings)
	findings := append([]Finding{between}, server...)
	findings = append(findings, examineSession(ctx, pool, standsBetween), examineVacuum(ctx, pool))
	migrated := examineMigrations(ctx, pool, settings)
	findings = append(findings, migrated)
	if !migrated.OK {
		return findings
	}
	findings = append(findings,
		examinePrivileges(ctx, pool, settings),
		examineWrites(ctx, pool),
		examineWorkers(ctx, pool, slots, settings.Database.MaxConns+1),
		examineJobIDs(ctx, pool, settings),
	)
	return append(findings, examineUpkeep(ctx, pool, settings)...)
}

// sentence joins what was found in several places.
func sentence(parts []string) string { return strings.Join(parts, "; ") }
