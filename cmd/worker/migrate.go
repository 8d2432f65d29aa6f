package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/workers"
)

func migrateCommand(configFile *string, stdout io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Prepare the database",
		Long: "Create the objects that the worker needs and the database lacks: River's tables in a schema of their own,\n" +
			"the worker's tables, and missing columns of the application's activities. Nothing else is changed.",
	}
	c.AddCommand(migrateUpCommand(configFile, stdout), migrateStatusCommand(configFile, stdout))
	return c
}

func migrateUpCommand(configFile *string, stdout io.Writer) *cobra.Command {
	var enqueueRole, workerRole, purgeRole string
	var planOnly, capture, noCapture bool
	c := &cobra.Command{
		Use:   "up",
		Short: "Apply all missing migrations; several processes may do so at once",
		Long: "Apply all missing migrations; several processes may do so at once. The application may run meanwhile: none\n" +
			"of its statements waits noticeably. --plan lists the steps for this database and changes nothing.\n\n" +
			"Programs in any language enqueue jobs in their own transactions with the SQL functions\n" +
			"enqueue_activity_ingest and enqueue_acwr_recalc in River's schema, and query their status with job_status.\n" +
			"The role that migrates may call them; --enqueue-role lets another, existing role do that, read results with\n" +
			"acwr_series, and nothing else. It can be given again at any time.\n\n" +
			"--purge-role lets an existing role remove an athlete's data for good with the SQL function purge_athlete, and nothing\n" +
			"else.\n\n" +
			"--worker-role lets another, existing role run workers and the command enqueue, and change no table's definition.\n" +
			"Give it again after each upgrade.\n\n" +
			"--with-change-capture puts triggers on activities: any statement of any program that changes a load, a\n" +
			"TRIMP, a date or an owner, or removes rows, enqueues the recalculation in its own transaction.\n" +
			"--without-change-capture removes them.",
		Example: "  DATABASE_URL=postgres://user@localhost/trainingmonkey worker migrate up\n" +
			"  worker migrate up --plan\n" +
			"  worker migrate up --enqueue-role webapp --worker-role worker\n" +
			"  worker migrate up --with-change-capture",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case planOnly && (enqueueRole != "" || workerRole != "" || purgeRole != "" || noCapture):
				return cli.Usagef("--plan changes nothing; leave out --enqueue-role, --purge-role, --worker-role and --without-change-capture")
			case capture && noCapture:
				return cli.Usagef("--with-change-capture and --without-change-capture exclude each other")
			}
			settings, err := cli.LoadConfig(*configFile)
			if err != nil {
				return err
			}
			pool, err := cli.OpenPool(c.Context(), settings, "worker migrate")
			if err != nil {
				return err
			}
			defer pool.Close()
			if planOnly {
				return printPlan(c.Context(), pool, settings.River.Schema, capture, stdout)
			}
			done, err := migrations.Up(c.Context(), pool.Pool, settings.River.Schema)
			if err != nil {
				return err
			}
			for _, version := range done.River {
				_, _ = fmt.Fprintf(stdout, "applied river %d\n", version)
			}
			for _, name := range done.Worker {
				_, _ = fmt.Fprintf(stdout, "applied %s\n", strings.TrimSuffix(name, ".sql"))
			}
			for _, index := range done.DroppedIndexes {
				_, _ = fmt.Fprintf(stdout, "dropped %s, which was not valid\n", index)
			}
			ids, renumbered, err := workers.ContinueIDs(c.Context(), pool, queue.Schema(settings.River.Schema))
			if err != nil {
				return err
			}
			if ids.WentBack() {
				_, _ = fmt.Fprintf(stdout, "the ids of jobs had gone back to %d; they go on beyond %d, and %d waiting jobs have new ones\n", ids.Last, ids.Stored, renumbered)
			}
			_, _ = fmt.Fprintln(stdout, "the database is up to date")
			if err := switchCapture(c.Context(), pool, settings.River.Schema, capture, noCapture, stdout); err != nil {
				return err
			}
			if err := grantWork(c.Context(), pool, settings.River.Schema, workerRole, stdout); err != nil {
				return err
			}
			for _, g := range []grant{
				{"--enqueue-role", enqueueRole, "enqueue jobs", migrations.GrantEnqueue},
				{"--purge-role", purgeRole, "remove athletes' data", migrations.GrantPurge},
			} {
				if err := g.give(c.Context(), pool, settings.River.Schema, stdout); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&planOnly, "plan", false, "print what would be done and change nothing")
	c.Flags().BoolVar(&capture, "with-change-capture", false, "enqueue what any program's changes of activities make wrong")
	c.Flags().BoolVar(&noCapture, "without-change-capture", false, "stop doing that")
	c.Flags().StringVar(&enqueueRole, "enqueue-role", "", "existing `role` that may enqueue jobs with the SQL functions")
	c.Flags().StringVar(&purgeRole, "purge-role", "", "existing `role` that may remove athletes' data with the SQL function")
	c.Flags().StringVar(&workerRole, "worker-role", "", "existing `role` that may run workers and the command enqueue")
	return c
}

// switchCapture installs or removes change capture, as the two flags say.
func switchCapture(ctx context.Context, pool *dbpool.Pool, riverSchema string, on, off bool, stdout io.Writer) error {
	var err error
	switch {
	case on:
		if err = migrations.CaptureChanges(ctx, pool.Pool, riverSchema); err == nil {
			_, err = fmt.Fprintln(stdout, "changes of activities are captured")
		}
	case off:
		if err = migrations.DropCapture(ctx, pool.Pool, riverSchema); err == nil {
			_, err = fmt.Fprintln(stdout, "changes of activities are not captured")
		}
	}
	return err
}

func printPlan(ctx context.Context, pool *dbpool.Pool, riverSchema string, capture bool, stdout io.Writer) error {
	steps, err := migrations.Plan(ctx, pool.Pool, riverSchema)
	if err != nil {
		return err
	}
	if capture && !slices.Contains(steps, migrations.CaptureStep) {
		steps = append(steps, migrations.CaptureStep)
	}
	if len(steps) == 0 {
		_, err = fmt.Fprintln(stdout, "the database is up to date")
		return err
	}
	for _, step := range steps {
		_, _ = fmt.Fprintf(stdout, "would apply %s: %s\n", step.Name, step.Does)
	}
	_, err = fmt.Fprintln(stdout, "nothing was changed; to do it: worker migrate up")
	return err
}

func grantWork(ctx context.Context, pool *dbpool.Pool, riverSchema, role string, stdout io.Writer) error {
	if role == "" {
		return nil
	}
	err := migrations.GrantWork(ctx, pool.Pool, riverSchema, role)
	if errors.Is(err, migrations.ErrNoRole) {
		return &cli.UsageError{Err: fmt.Errorf("--worker-role: %w", err)}
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "role %q may work\n", role)
	return err
}

// grant lets a role call SQL functions.
type grant struct {
	flag, role, may string
	by              func(ctx context.Context, pool *pgxpool.Pool, riverSchema, role string) (warning string, err error)
}

// give does nothing if the flag was not given.
func (g grant) give(ctx context.Context, pool *dbpool.Pool, riverSchema string, stdout io.Writer) error {
	if g.role == "" {
		return nil
	}
	warning, err := g.by(ctx, pool.Pool, riverSchema, g.role)
	if errors.Is(err, migrations.ErrNoRole) {
		return &cli.UsageError{Err: fmt.Errorf("%s: %w", g.flag, err)}
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(stdout, "role %q may %s\n", g.role, g.may)
	if warning != "" {
		_, err = fmt.Fprintf(stdout, "warning: %s\n", warning)
	}
	return err
}

func migrateStatusCommand(configFile *string, stdout io.Writer) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show which migrations the database has and which this worker needs",
		Example: "  worker migrate status\n" +
			"  worker migrate status --json",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			settings, err := cli.LoadConfig(*configFile)
			if err != nil {
				return err
			}
			pool, err := cli.OpenPool(c.Context(), settings, "worker migrate")
			if err != nil {
				return err
			}
			defer pool.Close()
			status, err := migrations.GetStatus(c.Context(), pool.Pool, settings.River.Schema)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(stdout).Encode(status)
			}
			return writeStatus(stdout, status)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

func writeStatus(w io.Writer, status migrations.Status) error {
	var rows []string
	for _, line := range []struct {
		name string
		line migrations.Line
	}{{"worker", status.Worker}, {"river", status.River}} {
		remark := "up to date"
		if line.line.Pending() {
			remark = "run: worker migrate up"
		} else if line.line.Unknown() {
			remark = "newer than this worker"
		}
		rows = append(rows, fmt.Sprintf("%s\t%d\t%d\t%s", line.name, line.line.Current, line.line.Newest, remark))
	}
	return cli.WriteTable(w, "TABLES\tDATABASE IS AT\tTHIS WORKER NEEDS\tREMARK", rows)
}
