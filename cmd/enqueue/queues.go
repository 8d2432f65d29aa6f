package main

import (
	"context"
	"fmt"
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
		queueStateCommand(p, "pause", "Have workers leave a queue alone; what they work already is finished", "paused", (*queue.Admin).PauseQueue),
		queueStateCommand(p, "resume", "Have workers take jobs from a paused queue again", "running", (*queue.Admin).ResumeQueue),
	)
	return c
}

func queuesListCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List the queues and their jobs",
		Long: "List the queues and how many jobs each has in each state. A ~ marks an estimate: more than ten thousand are\n" +
			"not counted.",
		Example: "  enqueue queues list\n" +
			"  enqueue queues list --json",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.withDatabase(c.Context(), "enqueue status", func(db *database) error {
				s, err := db.snapshot(c.Context())
				if err != nil {
					return err
				}
				return p.Show(s.Queues, func() { p.writeQueues(s.Queues) })
			})
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
		DeadAfter:   queue.DeadAfter,
		Timeout:     db.config.Database.StatementTimeout,
	})
}

func (p *program) writeQueues(queues []queue.Counts) {
	rows := make([]string, len(queues))
	for i, q := range queues {
		row := cli.OneLine(q.Name)
		oldest := 0.0
		for _, state := range []string{"available", "running", "retryable", "scheduled", "cancelled", "discarded"} {
			s := q.In(state)
			row += "\t" + jobCount(s)
			if s.OldestAge != nil && state != "cancelled" && state != "discarded" {
				oldest = max(oldest, *s.OldestAge)
			}
		}
		row += "\t" + waited(oldest) + "\t"
		if q.PausedAt != nil {
			row += "paused " + ago(*q.PausedAt) + " ago"
		}
		rows[i] = row
	}
	p.Table("QUEUE\tAVAILABLE\tRUNNING\tRETRYABLE\tSCHEDULED\tCANCELLED\tDISCARDED\tOLDEST\t", rows)
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

// waited is an age in words, or a dash for none.
func waited(seconds float64) string {
	if seconds <= 0 {
		return "-"
	}
	return admin.HumanReadable(time.Duration(seconds * float64(time.Second)))
}
