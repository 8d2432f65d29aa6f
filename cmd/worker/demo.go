package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/athlete"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/oracle"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/workers"
)

func demoCommand(p *cli.Program) *cobra.Command {
	var keep bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Demonstrate the worker, with sample data on a private PostgreSQL",
		Long: "Start a private PostgreSQL, migrate it, enqueue two years of several athletes' activities, work them in\n" +
			"batched transactions, show one athlete's ACWR, and check every value against plain SQL. Nothing is left behind.\n" +
			"With DATABASE_URL set, a new database is created on that server, and dropped afterwards.",
		Example: "  worker demo\n" +
			"  worker demo --keep     # stay up until Ctrl-C, for psql and enqueue",
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := cli.LoadConfig(p.ConfigFile)
			if err != nil {
				return err
			}
			return demo(c.Context(), settings, keep, p)
		},
	}
	c.Flags().BoolVar(&keep, "keep", false, "stay up until Ctrl-C")
	return c
}

func demo(ctx context.Context, settings config.Config, keep bool, p *cli.Program) (err error) {
	settings.Log.Level = "warn" // the demo prints what it does
	settings.ACWR.Rounding = "none"
	logger := cli.NewLogger(settings.Log, p.Err)
	url, cleanUp, err := demoDatabase(ctx, settings, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cleanUp()) }()
	pool, err := openMigrated(ctx, settings, url, "worker demo", nil)
	if err != nil {
		return err
	}
	defer pool.CloseWithin(closeTime)
	server, err := serverName(ctx, pool)
	if err != nil {
		return err
	}
	p.Printf("a database of the demo's own is up and migrated: %s\n", server)

	service, err := newService(ctx, pool, settings, logger, nil)
	if err != nil {
		return err
	}
	if err := workSample(ctx, pool, settings, service, p); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil
	}
	if err := showAthlete(ctx, pool, settings.ACWR.Rounding, p); err != nil {
		return err
	}
	if err := checkAgainstOracle(ctx, pool, p); err != nil || !keep {
		return err
	}
	pages, err := newAdminServer(settings, logger)
	if err != nil {
		return err
	}
	pages.announce = p
	second, err := newService(ctx, pool, settings, logger, pages.observe())
	if err != nil {
		return err
	}
	p.Printf("\nstaying up until Ctrl-C. In another terminal:\n\n  export DATABASE_URL='%s'\n\n", url)
	return pages.work(ctx, pool, second, false)
}

// demoDatabase creates a database for this demo, on a private server or on the
// configured one.
func demoDatabase(ctx context.Context, settings config.Config, logger *slog.Logger) (url string, cleanUp func() error, err error) {
	if settings.DatabaseURL != "" {
		return scratchDatabase(ctx, settings.DatabaseURL)
	}
	server, url, err := startLocal(ctx, "", logger)
	if err != nil {
		return "", nil, err
	}
	return url, func() error { return stopLocal(ctx, server) }, nil
}

// workSample enqueues the sample as the application would, one job per sync, and works it.
func workSample(ctx context.Context, pool *dbpool.Pool, settings config.Config, service *workers.Service, p *cli.Program) error {
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, settings.River.Schema)
	if err != nil {
		return err
	}
	activities := oracle.SampleActivities()
	args := make([]jobs.ActivityIngest, len(activities))
	for i, a := range activities {
		args[i].Activities = []jobs.Activity{a}
	}
	err = pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := enqueuer.IngestTx(ctx, tx, jobs.PriorityLive, args...)
		return err
	})
	if err != nil {
		return err
	}
	p.Printf("enqueued %d jobs, an activity each: %d athletes, %s to %s\n",
		len(args), oracle.SampleAthletes, oracle.SampleFirstDay.Format(time.DateOnly), oracle.SampleLastDay.Format(time.DateOnly))
	started := time.Now()
	if err := service.Drain(ctx); err != nil {
		return err
	}
	elapsed := time.Since(started)
	stats := service.Stats()
	p.Printf("stored them with their ACWR: %s in %s\n",
		cli.Counted(stats.Ingest.Committed, "job", "jobs"), cli.Counted(stats.Ingest.Transactions, "transaction", "transactions"))
	p.Printf("in %.2f s, start and stop of the worker included: %.0f activities a second\n\n", elapsed.Seconds(), float64(len(activities))/elapsed.Seconds())
	return nil
}

// shownAthlete is the athlete whose series the demo prints.
const (
	shownAthlete = 1
	shownDays    = 14
	chartWidth   = 80
)

func showAthlete(ctx context.Context, pool *dbpool.Pool, rounding string, p *cli.Program) error {
	days, err := athlete.ReadDays(ctx, pool, shownAthlete, nil, &oracle.SampleLastDay, rounding)
	if err != nil {
		return err
	}
	p.Printf("athlete %d, external load in miles, internal load as TRIMP:\n", shownAthlete)
	p.Printf("%s\n%s", athlete.Table(days, shownDays, "it was not worked"), athlete.Chart(days, chartWidth))
	return nil
}

func checkAgainstOracle(ctx context.Context, pool *dbpool.Pool, p *cli.Program) error {
	wrong, total, err := oracle.Check(ctx, pool)
	if err != nil {
		return err
	}
	if total > 0 {
		return fmt.Errorf("%s from the SQL oracle, the first: %s", cli.Counted(total, "row differs", "rows differ"), wrong[0])
	}
	var rows int
	if err := pool.QueryRow(ctx, `SELECT count(*) FROM activities`).Scan(&rows); err != nil {
		return err
	}
	p.Printf("\nchecked: all 7 values of all %d rows equal the SQL oracle\n", rows)
	return nil
}
