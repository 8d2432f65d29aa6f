package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/jobs"
)

func backfillCommand(configFile *string, io streams) *cobra.Command {
	var users []int32
	var from, to string
	var wait, force, asJSON bool
	c := &cobra.Command{
		Use:   "backfill [flags]",
		Short: "Recalculate the ACWR of all users, or of some",
		Long: "Create a backfill: workers compute the ACWR columns of every activity in chunks, while live jobs go on.\n" +
			"Rows that are up to date are only read. --from and --to are dates of changed activities: the days that these count into are computed.",
		Example: "  enqueue backfill --wait\n" +
			"  enqueue backfill --user 7 --user 8 --from 2025-01-01\n" +
			"  enqueue backfill status",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			scope, err := backfillScope(users, from, to)
			if err != nil {
				return err
			}
			return startBackfill(c.Context(), *configFile, scope, force, wait, asJSON, io)
		},
	}
	c.Flags().Int32SliceVar(&users, "user", nil, "`id` of a user; may be repeated (default: everyone)")
	c.Flags().StringVar(&from, "from", "", "first `date`, YYYY-MM-DD (default: each user's first)")
	c.Flags().StringVar(&to, "to", "", "last `date`, YYYY-MM-DD (default: each user's last)")
	c.Flags().BoolVar(&wait, "wait", false, "show progress until it is finished; Ctrl-C leaves it running")
	c.Flags().BoolVar(&force, "force", false, "even if one of the same scope is not finished")
	c.Flags().BoolVar(&asJSON, "json", false, "print the backfill as a JSON object, with --wait as it ended")
	c.AddCommand(
		backfillStatusCommand(configFile, io),
		backfillListCommand(configFile, io),
		backfillStateCommand(configFile, io, stateChange{
			use: "pause", short: "Stop a backfill after the chunks in flight", done: "paused; go on with: enqueue backfill resume %d",
			change: func(ctx context.Context, tx pgx.Tx, _ *jobs.Enqueuer, _ string, id int64) (int, error) {
				return 0, backfill.Pause(ctx, tx, id)
			},
		}),
		backfillStateCommand(configFile, io, stateChange{
			use: "resume", short: "Continue a paused backfill, and retry failed chunks",
			done: "running; follow it with: enqueue backfill status %d --wait", change: backfill.Resume,
		}),
		backfillStateCommand(configFile, io, stateChange{
			use: "cancel", short: "End a backfill after the chunks in flight; finished chunks stay", done: "cancelled",
			change: func(ctx context.Context, tx pgx.Tx, _ *jobs.Enqueuer, _ string, id int64) (int, error) {
				return 0, backfill.Cancel(ctx, tx, id)
			},
		}),
	)
	return c
}

// backfillScope validates the flags, all of them at once.
func backfillScope(users []int32, from, to string) (backfill.Scope, error) {
	var faults []error
	for _, user := range users {
		if user <= 0 {
			faults = append(faults, fmt.Errorf("--user must be a positive id, got %d", user))
		}
	}
	first, last, err := parseDates(from, to)
	if err := errors.Join(append(faults, err)...); err != nil {
		return backfill.Scope{}, &cli.UsageError{Err: err}
	}
	return backfill.Scope{Users: users, From: first, To: last}, nil
}

func startBackfill(ctx context.Context, configFile string, scope backfill.Scope, force, wait, asJSON bool, io streams) error {
	return withDatabase(ctx, configFile, "enqueue backfill", func(pool *dbpool.Pool, settings config.Config) error {
		enqueuer, err := jobs.NewEnqueuer(pool.Pool, settings.River.Schema)
		if err != nil {
			return err
		}
		var id int64
		err = pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			id, err = backfill.Create(ctx, tx, enqueuer, scope, force)
			return err
		})
		if running := (*backfill.RunningError)(nil); errors.As(err, &running) {
			return fmt.Errorf("%w; follow it with: enqueue backfill status %d --wait, or start another one with --force", err, running.ID)
		}
		if err != nil {
			return err
		}
		if !asJSON {
			_, _ = fmt.Fprintf(io.out, "started backfill %d\n", id)
		}
		if wait {
			return followBackfill(ctx, pool, settings.River.Schema, id, asJSON, io)
		}
		if asJSON {
			b, err := backfill.Get(ctx, pool, settings.River.Schema, id)
			if err != nil {
				return err
			}
			return json.NewEncoder(io.out).Encode(b)
		}
		_, err = fmt.Fprintf(io.out, "follow it with: enqueue backfill status %d --wait\n", id)
		return err
	})
}

// stateChange describes pause, resume or cancel. change returns how many chunks it
// enqueued.
type stateChange struct {
	use, short, done string
	change           func(ctx context.Context, tx pgx.Tx, enqueuer *jobs.Enqueuer, riverSchema string, id int64) (int, error)
}

func backfillStateCommand(configFile *string, io streams, s stateChange) *cobra.Command {
	return &cobra.Command{
		Use:     s.use + " [ID]",
		Short:   s.short,
		Long:    s.short + ". Without an ID it is the newest one.",
		Example: "  enqueue backfill " + s.use + " 3",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			id, err := backfillID(args)
			if err != nil {
				return err
			}
			return withDatabase(c.Context(), *configFile, "enqueue backfill", func(pool *dbpool.Pool, settings config.Config) error {
				enqueuer, err := jobs.NewEnqueuer(pool.Pool, settings.River.Schema)
				if err != nil {
					return err
				}
				b, err := getBackfill(c.Context(), pool, settings.River.Schema, id)
				if err != nil {
					return err
				}
				err = pool.InTx(c.Context(), func(ctx context.Context, tx pgx.Tx) error {
					_, err := s.change(ctx, tx, enqueuer, settings.River.Schema, b.ID)
					return err
				})
				if err != nil {
					return err
				}
				done := s.done
				if s.use != "cancel" {
					done = fmt.Sprintf(done, b.ID)
				}
				_, err = fmt.Fprintf(io.out, "backfill %d is %s\n", b.ID, done)
				return err
			})
		},
	}
}
