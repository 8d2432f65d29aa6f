package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/workers"
)

func queuesCommand(configFile *string, io streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "queues",
		Short: "Show queues, and pause or resume them",
		Example: "  enqueue queues list\n" +
			"  enqueue queues pause backfill",
	}
	c.AddCommand(
		queuesListCommand(configFile, io),
		queueStateCommand(configFile, io, "pause", "Have workers leave a queue alone; what they work already is finished", "paused", (*queue.Admin).PauseQueue),
		queueStateCommand(configFile, io, "resume", "Have workers take jobs from a paused queue again", "running", (*queue.Admin).ResumeQueue),
	)
	return c
}

func queuesListCommand(configFile *string, io streams) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the queues and their jobs",
		Long: "List the queues and how many jobs each has in each state. A ~ marks an estimate: more than ten thousand are\n" +
			"not counted.",
		Example: "  enqueue queues list\n" +
			"  enqueue queues list --json",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return withSnapshots(c.Context(), *configFile, func(take snapshotFunc) error {
				s, err := take(c.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(io.out).Encode(s.Queues)
				}
				return writeQueues(io.out, s.Queues)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON list")
	return c
}

func queueStateCommand(configFile *string, io streams, use, short, done string, change func(*queue.Admin, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Use:       use + " QUEUE",
		Short:     short,
		Long:      short + ". * stands for every queue.",
		Example:   "  enqueue queues " + use + " ingest_bulk",
		Args:      cobra.ExactArgs(1),
		ValidArgs: workers.QueueNames(),
		RunE: func(c *cobra.Command, args []string) error {
			return withAdmin(c.Context(), *configFile, func(a *queue.Admin) error {
				if err := change(a, c.Context(), args[0]); err != nil {
					return err
				}
				what := "queue " + args[0] + " is"
				if args[0] == queue.AllQueues {
					what = "all queues are"
				}
				_, err := fmt.Fprintf(io.out, "%s %s\n", what, done)
				return err
			})
		},
	}
}

// snapshotFunc takes a snapshot of the system.
type snapshotFunc func(context.Context) (admin.Snapshot, error)

// withSnapshots calls fn with a function that takes snapshots of the configured database.
func withSnapshots(ctx context.Context, configFile string, fn func(snapshotFunc) error) error {
	return withDatabase(ctx, configFile, "enqueue status", func(pool *dbpool.Pool, settings config.Config) error {
		return fn(func(ctx context.Context) (admin.Snapshot, error) {
			return admin.Read(ctx, pool, admin.Options{
				RiverSchema: settings.River.Schema,
				Queues:      workers.QueueNames(),
				DeadAfter:   queue.DeadAfter,
				Timeout:     settings.Database.StatementTimeout,
			})
		})
	})
}

func writeQueues(w io.Writer, queues []queue.Counts) error {
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
	return cli.WriteTable(w, "QUEUE\tAVAILABLE\tRUNNING\tRETRYABLE\tSCHEDULED\tCANCELLED\tDISCARDED\tOLDEST\t", rows)
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
