package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/queue"
)

func rejectsCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "rejects",
		Short: "List rejected activities, and retry or drop them",
		Long:  "Activities that were accepted and then found invalid are kept, with the reason, until an operator retries or drops them.",
		Example: "  enqueue rejects list\n" +
			"  enqueue rejects retry --user 7 --yes",
	}
	c.AddCommand(
		rejectsListCommand(p),
		rejectsShowCommand(p),
		rejectsRetryCommand(p),
		rejectsDropCommand(p),
	)
	return c
}

// rejectFilter returns the filter of rejects for the shared filter flags.
func rejectFilter(f queue.Filter) admin.Filter {
	return admin.Filter{IDs: f.IDs, User: f.User, OlderThan: f.OlderThan}
}

func rejectsListCommand(p *program) *cobra.Command {
	var flags filterFlags
	var limit int
	c := &cobra.Command{
		Use:   "list",
		Short: "List the newest rejected activities",
		Example: "  enqueue rejects list\n" +
			"  enqueue rejects list --user 7 --json",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			filter, err := flags.parse(c, nil, nil)
			if err != nil {
				return err
			}
			if err := checkLimit(limit); err != nil {
				return err
			}
			return p.withDatabase(c.Context(), "enqueue rejects", func(db *database) error {
				found, err := db.actions.ListRejects(c.Context(), rejectFilter(filter), limit)
				if err != nil {
					return err
				}
				return p.Show(found, func() { p.writeRejects(found, limit) })
			})
		},
	}
	flags.register(c)
	limitFlag(c, &limit)
	p.JSONFlag(c, "a JSON list")
	return c
}

func (p *program) writeRejects(found []admin.Reject, limit int) {
	rows := make([]string, len(found))
	for i, r := range found {
		rows[i] = fmt.Sprintf("%d\t%d\t%s\t%s\t%s\t%s", r.ID, r.JobID, orDash(r.UserID), orDash(r.ActivityID), ago(r.RejectedAt), cli.OneLine(r.Reason))
	}
	p.writeNewest("rejects", "ID\tJOB\tUSER\tACTIVITY\tAGE\tREASON", rows, limit)
}

func rejectsShowCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show a rejected activity: its reason and payload",
		Example: "  enqueue rejects show 3\n" +
			"  enqueue rejects show 3 --json",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := parseID(args[0])
			if err != nil {
				return err
			}
			return p.withDatabase(c.Context(), "enqueue rejects", func(db *database) error {
				r, err := db.actions.ShowReject(c.Context(), id)
				if err != nil {
					return err
				}
				return p.Show(r, func() {
					p.Printf("reject %d: activity %s of user %s, from job %d, at %s\n",
						r.ID, orDash(r.ActivityID), orDash(r.UserID), r.JobID, r.RejectedAt.Local().Format(time.DateTime))
					p.Printf("reason: %s\n", cli.OneLine(r.Reason))
					p.writeIndented("payload", r.Payload)
				})
			})
		},
	}
	p.JSONFlag(c, "a JSON object")
	return c
}
