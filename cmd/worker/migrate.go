package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/workers"
)

func migrateCommand(p *cli.Program) *cobra.Command {
	c := &cobra.Command{
		Use:   "migrate",
		Short: "Prepare the database",
		Long: "Create the objects that the worker needs and the database lacks: River's tables in a schema of their own,\n" +
			"the worker's tables, and missing columns of the application's activities. Nothing else is changed.",
	}
	c.AddCommand(migrateUpCommand(p), migrateStatusCommand(p))
	return c
}

func migrateUpCommand(p *cli.Program) *cobra.Command {
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
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case planOnly && (enqueueRole != "" || workerRole != "" || purgeRole != "" || noCapture):
				return cli.Usagef("--plan changes nothing; leave out --enqueue-role, --purge-role, --worker-role and --without-change-capture")
			case capture && noCapture:
				return cli.Usagef("--with-change-capture and --without-change-capture exclude each other")
			}
			return p.WithPool(c.Context(), "worker migrate", func(pool *dbpool.Pool, settings config.Config) error {
				if planOnly {
					return printPlan(c.Context(), pool, settings.River.Schema, capture, p)
				}
				if err := migrateUp(c.Context(), pool, settings.River.Schema, p); err != nil {
					return err
				}
				if err := switchCapture(c.Context(), pool, settings.River.Schema, capture, noCapture, p); err != nil {
					return err
				}
				for _, g := range []grant{
					{"--worker-role", workerRole, "work", migrations.GrantWork},
					{"--enqueue-role", enqueueRole, "enqueue jobs", migrations.GrantEnqueue},
					{"--purge-role", purgeRole, "remove athletes' data", migrations.GrantPurge},
				} {
					if err := g.give(c.Context(), pool, settings.River.Schema, p); err != nil {
						return err
					}
				}
				return nil
			})
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

func migrateUp(ctx context.Context, pool *dbpool.Pool, riverSchema string, p *cli.Program) error {
	done, err := migrations.Up(ctx, pool.Pool, riverSchema)
	if err != nil {
		return err
	}
	for _, version := range done.River {
		p.Printf("applied river %d\n", version)
	}
	for _, name := range done.Worker {
		p.Printf("applied %s\n", strings.TrimSuffix(name, ".sql"))
	}
	for _, index := range done.DroppedIndexes {
		p.Printf("dropped %s, which was not valid\n", index)
	}
	ids, renumbered, err := workers.ContinueIDs(ctx, pool, queue.Schema(riverSchema))
	if err != nil {
		return err
	}
	if ids.WentBack() {
		p.Printf("the ids of jobs had gone back to %d; they go on beyond %d, and %s new ones\n",
			ids.Last, ids.Stored, cli.Counted(renumbered, "waiting job has", "waiting jobs have"))
	}
	p.Printf("the database is up to date\n")
	return nil
}

// switchCapture installs or removes change capture, according to the two flags.
func switchCapture(ctx context.Context, pool *dbpool.Pool, riverSchema string, on, off bool, p *cli.Program) error {
	switch {
	case on:
		if err := migrations.CaptureChanges(ctx, pool.Pool, riverSchema); err != nil {
			return err
		}
		p.Printf("changes of activities are captured\n")
	case off:
		if err := migrations.DropCapture(ctx, pool.Pool, riverSchema); err != nil {
			return err
		}
		p.Printf("changes of activities are not captured\n")
	}
	return nil
}

func printPlan(ctx context.Context, pool *dbpool.Pool, riverSchema string, capture bool, p *cli.Program) error {
	steps, err := migrations.Plan(ctx, pool.Pool, riverSchema)
	if err != nil {
		return err
	}
	if capture && !slices.Contains(steps, migrations.CaptureStep) {
		steps = append(steps, migrations.CaptureStep)
	}
	if len(steps) == 0 {
		p.Printf("the database is up to date\n")
		return nil
	}
	for _, step := range steps {
		p.Printf("would apply %s: %s\n", step.Name, step.Does)
	}
	p.Printf("nothing was changed; to do it: worker migrate up\n")
	return nil
}

// grant lets a role call SQL functions.
type grant struct {
	flag, role, may string
	by              func(ctx context.Context, pool *pgxpool.Pool, riverSchema, role string) (warning string, err error)
}

// give does nothing if the flag was not given.
func (g grant) give(ctx context.Context, pool *dbpool.Pool, riverSchema string, p *cli.Program) error {
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
	p.Printf("role %q may %s\n", g.role, g.may)
	if warning != "" {
		p.Printf("%s: %s\n", p.Paint(cli.Yellow, "warning"), warning)
	}
	return nil
}

func migrateStatusCommand(p *cli.Program) *cobra.Command {
	c := &cobra.Command{
		Use:   "status",
		Short: "Show which migrations the database has and which this worker needs",
		Example: "  worker migrate status\n" +
			"  worker migrate status --json",
		RunE: func(c *cobra.Command, _ []string) error {
			return p.WithPool(c.Context(), "worker migrate", func(pool *dbpool.Pool, settings config.Config) error {
				status, err := migrations.GetStatus(c.Context(), pool.Pool, settings.River.Schema)
				if err != nil {
					return err
				}
				return p.Show(status, func() {
					p.Table("TABLES\tDATABASE IS AT\tTHIS WORKER NEEDS\tREMARK", []string{statusRow(p, "worker", status.Worker), statusRow(p, "river", status.River)})
				})
			})
		},
	}
	p.JSONFlag(c, "one JSON object")
	return c
}

func statusRow(p *cli.Program, name string, line migrations.Line) string {
	remark := p.State("up to date")
	if line.Pending() {
		remark = p.Paint(cli.Yellow, "run: worker migrate up")
	} else if line.Unknown() {
		remark = p.Paint(cli.Yellow, "newer than this worker")
	}
	return fmt.Sprintf("%s\t%d\t%d\t%s", name, line.Current, line.Newest, remark)
}
