package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/doctor"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/workers"
)

func runCommand(p *cli.Program) *cobra.Command {
	var drain bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Work until SIGTERM",
		Long: "Work the queues of the database that DATABASE_URL names, which must be migrated.\n" +
			"SIGTERM or Ctrl-C stops the worker: running jobs finish within shutdown.grace and nothing is lost;\n" +
			"a second signal ends the process at once, and its jobs are worked again elsewhere.",
		Example: "  DATABASE_URL=postgres://user@localhost/trainingmonkey worker run\n" +
			"  worker run --drain     # work until the queues are empty, then exit 0",
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := cli.LoadConfig(p.ConfigFile)
			if err != nil {
				return err
			}
			if err := checkBudget(settings); err != nil {
				return err
			}
			boundMemory(settings.Batching)
			logger := cli.NewLogger(settings.Log, p.Err)
			pages, err := newAdminServer(settings, logger)
			if err != nil {
				return err
			}
			pool, err := cli.OpenPool(c.Context(), settings, "worker run", pages.tracer())
			if err != nil {
				return err
			}
			defer pool.CloseWithin(closeTime)
			service, err := newService(c.Context(), pool, settings, logger, pages.observe())
			if err != nil {
				return err
			}
			return pages.work(c.Context(), pool, service, drain)
		},
	}
	c.Flags().BoolVar(&drain, "drain", false, "work until the queues are empty, then exit 0")
	return c
}

// checkBudget returns an error for settings that need more connections than the pool has.
func checkBudget(settings config.Config) error {
	if err := workers.Budget(settings).Check(int32(settings.Database.MaxConns)); err != nil {
		return &cli.UsageError{Err: err}
	}
	return nil
}

// closeTime is how long a stopping worker waits for connections that are still in use.
const closeTime = time.Second / 2

// newService returns an error for a database with which a worker cannot work,
// and logs warnings.
func newService(ctx context.Context, pool *dbpool.Pool, settings config.Config, logger *slog.Logger, observe workers.Observe) (*workers.Service, error) {
	checkCtx, cancel := context.WithTimeout(ctx, settings.Database.StatementTimeout)
	defer cancel()
	for _, f := range doctor.Examine(checkCtx, pool, settings) {
		switch {
		case f.Warns():
			logger.WarnContext(ctx, "check found a problem, starting anyway", slog.String("check", f.Check), slog.String("found", f.About), slog.String("why", f.Why), slog.String("cure", f.Cure))
		case f.Check != doctor.JobIDs && f.Err() != nil:
			return nil, f.Err()
		}
	}
	switch ids, renumbered, err := workers.ContinueIDs(checkCtx, pool, queue.Schema(settings.River.Schema)); {
	case err != nil:
		return nil, err
	case ids.WentBack():
		logger.WarnContext(ctx, "job ids had gone back; advanced them beyond the stored versions and renumbered waiting jobs",
			slog.Int64("newest", ids.Last), slog.Int64("beyond", ids.Stored), slog.Int64("renumbered", renumbered))
	}
	return workers.New(checkCtx, pool, settings, logger, observe)
}

func workQueues(ctx context.Context, service *workers.Service, drain bool, logger *slog.Logger) error {
	logger.InfoContext(ctx, "working", slog.String("version", cli.Version()), slog.Bool("drain", drain))
	var err error
	if drain {
		err = service.Drain(ctx)
	} else {
		err = service.Run(ctx)
	}
	stats := service.Stats()
	logger.InfoContext(context.WithoutCancel(ctx), "stopped",
		slog.Any("activity_ingest", stats.Ingest), slog.Any("acwr_recalc", stats.Recalc), slog.Any("acwr_backfill", stats.Backfill), slog.Any("token_users", stats.TokenUsers))
	if err == nil || (ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		return nil // a signal before the first job is a regular stop
	}
	return fmt.Errorf("run: %w", err)
}
