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
)

func rejectsCommand(configFile *string, io streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "rejects",
		Short: "List rejected activities, and retry or drop them",
		Long:  "Activities that were accepted and then found invalid are kept, with the reason, until an operator retries or drops them.",
		Example: "  enqueue rejects list\n" +
			"  enqueue rejects retry --user 7 --yes",
	}
	c.AddCommand(
		rejectsListCommand(configFile, io),
		rejectsShowCommand(configFile, io),
		rejectsRetryCommand(configFile, io),
		rejectsDropCommand(configFile, io),
	)
	return c
}

// withActions calls fn with the actions on the configured database.
func withActions(ctx context.Context, configFile string, fn func(*admin.Actions) error) error {
	return withDatabase(ctx, configFile, "enqueue rejects", func(pool *dbpool.Pool, settings config.Config) error {
		o, err := admin.NewActions(pool, settings.River.Schema)
		if err != nil {
			return err
		}
		return fn(o)
	})
}

// rejectFilter returns the filter of rejects for the shared filter flags.
func rejectFilter(f queue.Filter) admin.Filter {
	return admin.Filter{IDs: f.IDs, User: f.User, OlderThan: f.OlderThan}
}

func rejectsListCommand(configFile *string, io streams) *cobra.Command {
	var flags filterFlags
	var limit int
	var asJSON bool
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
			return withActions(c.Context(), *configFile, func(o *admin.Actions) error {
				found, err := o.ListRejects(c.Context(), rejectFilter(filter), limit)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(io.out).Encode(found)
				}
				return writeRejects(io, found, limit)
			})
		},
	}
	flags.register(c)
	limitFlag(c, &limit)
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON list")
	return c
}

func writeRejects(io streams, found []admin.Reject, limit int) error {
	rows := make([]string, len(found))
	for i, r := range found {
		rows[i] = fmt.Sprintf("%d\t%d\t%s\t%s\t%s\t%s", r.ID, r.JobID, orDash(r.UserID), orDash(r.ActivityID), ago(r.RejectedAt), cli.OneLine(r.Reason))
	}
	return writeNewest(io, "rejects", "ID\tJOB\tUSER\tACTIVITY\tAGE\tREASON", rows, limit)
}

func rejectsShowCommand(configFile *string, io streams) *cobra.Command {
	var asJSON bool
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
			return withActions(c.Context(), *configFile, func(o *admin.Actions) error {
				r, err := o.ShowReject(c.Context(), id)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(io.out).Encode(r)
				}
				return writeReject(io.out, r)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

func writeReject(w io.Writer, r admin.RejectDetails) error {
	_, _ = fmt.Fprintf(w, "reject %d: activity %s of user %s, from job %d, at %s\n",
		r.ID, orDash(r.ActivityID), orDash(r.UserID), r.JobID, r.RejectedAt.Local().Format(time.DateTime))
	_, _ = fmt.Fprintf(w, "reason: %s\n", cli.OneLine(r.Reason))
	return writeIndented(w, "payload", r.Payload)
}
