package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/cli"
)

func backfillCommand(p *program) *cobra.Command {
	var users []int32
	var from, to string
	var wait, force bool
	c := &cobra.Command{
		Use:   "backfill [flags]",
		Short: "Recalculate the ACWR of all users, or of some",
		Long: "Create a backfill: workers compute the ACWR columns of every activity in chunks, while live jobs go on.\n" +
			"Rows that are up to date are only read. --from and --to are dates of changed activities: the days that these count into are computed.",
		Example: "  enqueue backfill --wait\n" +
			"  enqueue backfill --user 7 --user 8 --from 2025-01-01\n" +
			"  enqueue backfill status",
		RunE: func(c *cobra.Command, _ []string) error {
			scope, err := backfillScope(users, from, to)
			if err != nil {
				return err
			}
			return p.withDatabase(c.Context(), "enqueue backfill", func(db *database) error {
				return db.startBackfill(c.Context(), scope, force, wait)
			})
		},
	}
	c.Flags().Int32SliceVar(&users, "user", nil, "`id` of a user; may be repeated (default: everyone)")
	c.Flags().StringVar(&from, "from", "", "first `date`, YYYY-MM-DD (default: each user's first)")
	c.Flags().StringVar(&to, "to", "", "last `date`, YYYY-MM-DD (default: each user's last)")
	c.Flags().BoolVar(&wait, "wait", false, "show progress until it is finished; Ctrl-C leaves it running")
	c.Flags().BoolVar(&force, "force", false, "even if one of the same scope is not finished")
	p.JSONFlag(c, "the backfill as a JSON object, with --wait as it ended")
	c.AddCommand(
		backfillStatusCommand(p),
		backfillListCommand(p),
		backfillStateCommand(p, stateChange{
			use: "pause", short: "Stop a backfill after the chunks in flight", done: "paused; go on with: enqueue backfill resume ID",
			change: func(ctx context.Context, tx pgx.Tx, _ *database, id int64) error { return backfill.Pause(ctx, tx, id) },
		}),
		backfillStateCommand(p, stateChange{
			use: "resume", short: "Continue a paused backfill, and retry failed chunks",
			done: "running; follow it with: enqueue backfill status ID --wait",
			change: func(ctx context.Context, tx pgx.Tx, db *database, id int64) error {
				return backfill.Resume(ctx, tx, db.enqueuer, db.schema, id)
			},
		}),
		backfillStateCommand(p, stateChange{
			use: "cancel", short: "End a backfill after the chunks in flight; finished chunks stay", done: "cancelled",
			change: func(ctx context.Context, tx pgx.Tx, _ *database, id int64) error { return backfill.Cancel(ctx, tx, id) },
		}),
	)
	return c
}

// backfillScope validates the flags and reports every fault at once.
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

func (db *database) startBackfill(ctx context.Context, scope backfill.Scope, force, wait bool) error {
	var id int64
	err := db.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = backfill.Create(ctx, tx, db.enqueuer, scope, force)
		return err
	})
	if running := (*backfill.RunningError)(nil); errors.As(err, &running) {
		return fmt.Errorf("%w; follow it with: enqueue backfill status %d --wait, or start another one with --force", err, running.ID)
	}
	if err != nil {
		return err
	}
	if !db.JSON {
		db.Printf("started backfill %d\n", id)
	}
	if wait {
		return db.followBackfill(ctx, id)
	}
	if db.JSON {
		b, err := backfill.Get(ctx, db.pool, db.schema, id)
		if err != nil {
			return err
		}
		return db.Encode(b)
	}
	db.Printf("follow it with: enqueue backfill status %d --wait\n", id)
	return nil
}

// stateChange describes pause, resume or cancel. In done, ID stands for the id of the
// backfill.
type stateChange struct {
	use, short, done string
	change           func(ctx context.Context, tx pgx.Tx, db *database, id int64) error
}

func backfillStateCommand(p *program, s stateChange) *cobra.Command {
	return &cobra.Command{
		Use:     s.use + " [ID]",
		Short:   s.short,
		Long:    s.short + ". Without an ID it is the newest one.",
		Example: "  enqueue backfill " + s.use + " 3",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return p.withBackfill(c.Context(), args, func(db *database, b backfill.Backfill) error {
				err := db.pool.InTx(c.Context(), func(ctx context.Context, tx pgx.Tx) error {
					return s.change(ctx, tx, db, b.ID)
				})
				if err != nil {
					return err
				}
				p.Printf("backfill %d is %s\n", b.ID, strings.ReplaceAll(s.done, "ID", fmt.Sprint(b.ID)))
				return nil
			})
		},
	}
}
