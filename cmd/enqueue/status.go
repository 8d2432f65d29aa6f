package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

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

func statusCommand(configFile *string, io streams) *cobra.Command {
	var watch, check, asJSON bool
	var every time.Duration
	c := &cobra.Command{
		Use:   "status",
		Short: "Show whether the athletes' results are fresh, and why not",
		Long: "Show what an operator needs to know: what is wrong and what to do about it, how far the results lag behind,\n" +
			"queues, workers and running backfills.",
		Example: "  enqueue status\n" +
			"  enqueue status --watch --interval 5s\n" +
			"  enqueue status --check --json     # for scripts: exit code 1 when something is critical",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if every < 500*time.Millisecond {
				return cli.Usagef("--interval must be at least 500ms, got %v", every)
			}
			if watch && check {
				return cli.Usagef("--check checks once; it takes no --watch")
			}
			return withSnapshots(c.Context(), *configFile, func(take snapshotFunc) error {
				if watch {
					return watchStatus(c.Context(), take, every, asJSON, io)
				}
				s, err := take(c.Context())
				if err != nil {
					return err
				}
				findings := s.Findings()
				if err := writeStatus(io.out, s, findings, asJSON); err != nil {
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
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

// clearScreen puts the cursor at the top of an empty terminal.
const clearScreen = "\x1b[H\x1b[2J"

// watchStatus repeats the status until ctx ends. It reports a database that does not
// answer, and tries again.
func watchStatus(ctx context.Context, take snapshotFunc, every time.Duration, asJSON bool, io streams) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var answered time.Time
	for {
		s, err := take(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			since := ""
			if !answered.IsZero() {
				since = "; the last one is from " + ago(answered) + " ago"
			}
			_, _ = fmt.Fprintf(io.err, "no answer: %v%s\n", err, since)
		default:
			answered = time.Now()
			if cli.IsTerminal(io.out) && !asJSON {
				_, _ = fmt.Fprint(io.out, clearScreen)
			}
			if err := writeStatus(io.out, s, s.Findings(), asJSON); err != nil {
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

func writeStatus(w io.Writer, s admin.Snapshot, findings []admin.Finding, asJSON bool) error {
	headline := s.Headline(findings)
	if asJSON {
		return json.NewEncoder(w).Encode(shownStatus{s, headline, append([]admin.Finding{}, findings...)})
	}
	_, _ = fmt.Fprintf(w, "%s\n%s. %s\n", s.TakenAt.Local().Format(time.DateTime), headline.Word, headline.Says)
	for _, f := range findings {
		_, _ = fmt.Fprintf(w, "%s: %s %s\n", f.Severity, cli.OneLine(f.What), f.Do)
	}
	_, _ = fmt.Fprintln(w)
	for _, f := range s.Freshness {
		if f.Waiting == 0 {
			_, _ = fmt.Fprintf(w, "%s: no job waits\n", f.Lane)
			continue
		}
		_, _ = fmt.Fprintf(w, "%s: %s wait, the oldest for %s\n", f.Lane, strings.TrimSpace(f.About+" "+counted(int(f.Waiting), "job", "jobs")), waited(f.Age))
	}
	_, _ = fmt.Fprintln(w)
	if err := writeQueues(w, s.Queues); err != nil {
		return err
	}
	if err := writeProcesses(w, s.Processes); err != nil {
		return err
	}
	if len(s.Backfills) > 0 {
		_, _ = fmt.Fprintln(w)
		return writeBackfills(w, s.Backfills)
	}
	return nil
}

func writeProcesses(w io.Writer, processes []admin.Process) error {
	if len(processes) == 0 {
		return nil
	}
	rows := make([]string, len(processes))
	for i, p := range processes {
		state := "alive"
		if !p.Alive {
			state = "dead, last seen " + ago(p.BeatAt) + " ago"
		}
		rows[i] = fmt.Sprintf("%s\t%s\t%s\t%s", cli.OneLine(p.ID), ago(p.StartedAt), writes(p), state)
	}
	_, _ = fmt.Fprintln(w)
	return cli.WriteTable(w, "WORKER\tUP FOR\tRESULTS\tSTATE", rows)
}

// writes says whether a worker writes results; a dash if it does not report it.
func writes(p admin.Process) string {
	switch {
	case p.Write == nil || p.RolloutPercent == nil:
		return "-"
	case *p.Write == admin.WriteOn && *p.RolloutPercent < 100:
		return fmt.Sprintf("%s for %d %%", *p.Write, *p.RolloutPercent)
	}
	return *p.Write
}
