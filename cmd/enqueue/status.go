package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/cli"
)

// errCritical is the error of --check.
var errCritical = errors.New("athletes' results are not fresh")

// shownStatus is what status --json prints.
type shownStatus struct {
	admin.Snapshot
	Headline admin.Headline  `json:"headline"`
	Findings []admin.Finding `json:"findings"` // the worst first, never null
}

func statusCommand(p *program) *cobra.Command {
	var watch, check bool
	var every time.Duration
	c := &cobra.Command{
		Use:   "status",
		Short: "Show whether the athletes' results are fresh, and why not",
		Long: "Show what an operator needs to know: what is wrong and what to do about it, how far the results lag behind,\n" +
			"queues, workers and running backfills.",
		Example: "  enqueue status\n" +
			"  enqueue status --watch --interval 5s\n" +
			"  enqueue status --check --json     # for scripts: exit code 1 when something is critical",
		RunE: func(c *cobra.Command, _ []string) error {
			if every < 500*time.Millisecond {
				return cli.Usagef("--interval must be at least 500ms, got %v", every)
			}
			if watch && check {
				return cli.Usagef("--check checks once; it takes no --watch")
			}
			return p.withDatabase(c.Context(), "enqueue status", func(db *database) error {
				if watch {
					return db.watchStatus(c.Context(), every)
				}
				s, err := db.snapshot(c.Context())
				if err != nil {
					return err
				}
				findings := s.Findings()
				if err := p.showStatus(s, findings); err != nil {
					return err
				}
				if check && len(findings) > 0 && findings[0].Severity == admin.Critical {
					return errCritical
				}
				return nil
			})
		},
	}
	c.Flags().BoolVar(&watch, "watch", false, "repeat until Ctrl-C; with --json one object per line")
	c.Flags().DurationVar(&every, "interval", 2*time.Second, "`duration` between two snapshots of --watch")
	c.Flags().BoolVar(&check, "check", false, "exit with 1 when something is critical")
	p.JSONFlag(c, "a JSON object")
	return c
}

// clearScreen clears the terminal and moves the cursor to its top.
const clearScreen = "\x1b[H\x1b[2J"

// watchStatus repeats the status until ctx ends. If the database does not answer, it
// reports each new reason once and keeps trying.
func (db *database) watchStatus(ctx context.Context, every time.Duration) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var answered time.Time
	var reported string
	for {
		s, err := db.snapshot(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			since, reason := "", dbpool.Concise(err).Error()
			if !answered.IsZero() {
				since = "; the last one is from " + answered.Format(time.TimeOnly)
			}
			if reason != reported {
				db.Warnf("no answer: %s%s\n", reason, since)
			}
			reported = reason
		default:
			answered, reported = time.Now(), ""
			if cli.IsTerminal(db.Out) && !db.JSON {
				db.Printf("%s", clearScreen)
			}
			if err := errors.Join(db.showStatus(s, s.Findings()), db.Broken()); err != nil {
				return err
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// severities are the colors of headlines and findings; a notice has none.
var severities = map[admin.Severity]cli.Color{"": cli.Green, admin.Warning: cli.Yellow, admin.Critical: cli.Red}

func (p *program) showStatus(s admin.Snapshot, findings []admin.Finding) error {
	headline := s.Headline(findings)
	return p.Show(shownStatus{s, headline, append([]admin.Finding{}, findings...)}, func() {
		p.Printf("%s\n%s. %s\n", s.TakenAt.Local().Format(time.DateTime), p.Paint(severities[headline.Severity], headline.Word), headline.Says)
		for _, f := range findings {
			p.Printf("%s: %s %s\n", p.Paint(severities[f.Severity], string(f.Severity)), cli.OneLine(f.What), f.Do)
		}
		p.Printf("\n")
		for _, f := range s.Freshness {
			if f.Waiting == 0 {
				p.Printf("%s: no job waits\n", f.Lane)
				continue
			}
			p.Printf("%s: %s, the oldest for %s\n", f.Lane, strings.TrimSpace(f.About+" "+cli.Counted(f.Waiting, "job waits", "jobs wait")), waited(f.Age))
		}
		p.Printf("\n")
		p.writeQueues(s.Queues)
		p.writeProcesses(s.Processes)
		if len(s.Backfills) > 0 {
			p.Printf("\n")
			p.writeBackfills(s.Backfills)
		}
	})
}

func (p *program) writeProcesses(processes []admin.Process) {
	if len(processes) == 0 {
		return
	}
	p.Printf("\n")
	p.Table("WORKER\tUP FOR\tRESULTS\tSTATE", cli.Rows(processes, func(w admin.Process) string {
		state := p.State("alive")
		if !w.Alive {
			state = p.State("dead") + ", last seen " + ago(w.BeatAt) + " ago"
		}
		return fmt.Sprintf("%s\t%s\t%s\t%s", cli.OneLine(w.ID), ago(w.StartedAt), writes(w), state)
	}))
}

// writes describes whether a worker writes results; a dash if it does not report it.
func writes(p admin.Process) string {
	switch {
	case p.Write == nil || p.RolloutPercent == nil:
		return "-"
	case *p.Write == admin.WriteOn && *p.RolloutPercent < 100:
		return fmt.Sprintf("%s for %d %%", *p.Write, *p.RolloutPercent)
	}
	return *p.Write
}
