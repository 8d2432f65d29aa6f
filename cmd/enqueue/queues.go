package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/workers"
)

func queuesCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "queues",
		Short: "Show queues, and pause or resume them",
		Example: "  enqueue queues list\n" +
			"  enqueue queues pause backfill",
	}
	c.AddCommand(
		queuesListCommand(p),
		queueStateCommand(p, "pause", "Have workers leave a queue alone; running jobs finish", "paused", (*queue.Admin).PauseQueue),
		queueStateCommand(p, "resume", "Have workers take jobs from a paused queue again", "running", (*queue.Admin).ResumeQueue),
	)
	return c
}

func queuesListCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the queues and their jobs",
		Long: "List the queues and how many jobs each has in each state; a state that no queue has jobs in is left out. A ~ marks\n" +
			"an estimate: more than ten thousand are not counted.",
		Example: "  enqueue queues list\n" +
			"  enqueue queues list --json",
		RunE: func(c *cobra.Command, _ []string) error {
			return readAndShow(c.Context(), p, "enqueue status", func(db *database) ([]queue.Counts, error) {
				s, err := db.snapshot(c.Context())
				return s.Queues, err
			}, p.writeQueues)
		},
	}
	p.JSONFlag(c, "a JSON list")
	return c
}

func queueStateCommand(p *program, use, short, done string, change func(*queue.Admin, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use:       use + " QUEUE",
		Short:     short,
		Long:      short + ". * stands for every queue.",
		Example:   "  enqueue queues " + use + " ingest_bulk",
		Args:      cobra.ExactArgs(1),
		ValidArgs: workers.QueueNames(),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withDatabase(c.Context(), "enqueue jobs", func(db *database) error {
				if err := change(db.jobs, c.Context(), args[0]); err != nil {
					return err
				}
				what := "queue " + args[0] + " is"
				if args[0] == queue.AllQueues {
					what = "all queues are"
				}
				p.Printf("%s %s\n", what, done)
				return nil
			})
		},
	}
}

func (db *database) snapshot(ctx context.Context) (admin.Snapshot, error) {
	return admin.Read(ctx, db.pool, admin.Options{
		RiverSchema: db.schema,
		Queues:      workers.QueueNames(),
		Timeout:     db.config.Database.StatementTimeout,

		WorkerConnections: db.config.ServerConnections(),
	})
}

// writeQueues prints a table that usually fits into 80 columns: it omits the columns of
// states without jobs, and that of pauses if no queue is paused.
func (p *program) writeQueues(queues []queue.Counts) {
	rows := make([]string, len(queues))
	header := "QUEUE"
	column := func(name string, always bool, cell func(queue.Counts) string) {
		cells, shown := make([]string, len(queues)), always
		for i, q := range queues {
			cells[i] = cell(q)
			shown = shown || cells[i] != "0" && cells[i] != ""
		}
		if !shown {
			return
		}
		header += "\t" + name
		for i := range rows {
			rows[i] += "\t" + cells[i]
		}
	}
	for i, q := range queues {
		rows[i] = cli.OneLine(q.Name)
	}
	column("STATE", false, func(q queue.Counts) string {
		if q.PausedAt == nil {
			return ""
		}
		return p.State("paused") + " " + ago(*q.PausedAt) + " ago"
	})
	for _, state := range []string{"available", "running", "retryable", "scheduled"} {
		column(strings.ToUpper(state), state == "available" || state == "running", func(q queue.Counts) string { return jobCount(q.In(state)) })
	}
	column("OLDEST", true, func(q queue.Counts) string { return waited(admin.OldestAge(q)) })
	for _, state := range []string{"cancelled", "discarded"} {
		column(strings.ToUpper(state), false, func(q queue.Counts) string { return jobCount(q.In(state)) })
	}
	p.Table(header, rows)
}

func jobCount(s queue.StateCount) string {
	switch {
	case s.AtLeast():
		return fmt.Sprintf("≥%d", s.Jobs)
	case s.Estimated:
		return fmt.Sprintf("~%d", s.Jobs)
	}
	return fmt.Sprint(s.Jobs)
}

// waited formats an age, 0 as a dash.
func waited(seconds float64) string {
	if seconds <= 0 {
		return "-"
	}
	return admin.HumanReadable(time.Duration(seconds * float64(time.Second)))
}
