// Command enqueue puts work into TrainingMonkey's queues and shows its results.
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/migrations"
)

func main() {
	os.Exit(cli.Main(func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		return run(ctx, args, os.Stdin, stdout, stderr)
	}))
}

// program has what all commands share.
type program struct {
	cli.Program
	in io.Reader
}

// database is the configured database, which is migrated, with its clients.
type database struct {
	*program
	pool     *dbpool.Pool
	config   config.Config
	schema   string // River's
	enqueuer *jobs.Enqueuer
	jobs     *queue.Admin
	actions  *admin.Actions
}

// withDatabase calls fn with the database.
func (p *program) withDatabase(ctx context.Context, application string, fn func(*database) error) error {
	return p.WithPool(ctx, application, func(pool *dbpool.Pool, settings config.Config) (err error) {
		db := &database{program: p, pool: pool, config: settings, schema: settings.River.Schema}
		if err := migrations.Check(ctx, pool.Pool, db.schema); err != nil {
			return err
		}
		if db.enqueuer, err = jobs.NewEnqueuer(pool.Pool, db.schema); err != nil {
			return err
		}
		if db.jobs, err = queue.NewAdmin(pool, queue.Schema(db.schema)); err != nil {
			return err
		}
		if db.actions, err = admin.NewActions(pool, db.schema); err != nil {
			return err
		}
		return fn(db)
	})
}

// readAndShow prints what read returns: as JSON with --json, otherwise with write.
func readAndShow[T any](ctx context.Context, p *program, application string, read func(*database) (T, error), write func(T)) error {
	return p.withDatabase(ctx, application, func(db *database) error {
		found, err := read(db)
		if err != nil {
			return err
		}
		return p.Show(found, func() { write(found) })
	})
}

// run is the whole program.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	p := &program{Program: cli.Program{Out: stdout, Err: stderr}, in: stdin}
	return p.Run(ctx, rootCommand(p), args)
}

func rootCommand(p *program) *cobra.Command {
	root := &cobra.Command{
		Use:   "enqueue",
		Short: "Enqueue TrainingMonkey's work, show its results and operate its queues",
		Long: "enqueue puts activities and recalculations into the queues of the database that DATABASE_URL names;\n" +
			"a running worker works them.",
		Example: "  enqueue ingest --user 7 --timezone US/Pacific activities.csv\n" +
			"  enqueue acwr --user 7\n" +
			"  enqueue status",
	}
	root.AddCommand(
		ingestCommand(p),
		recalcCommand(p),
		trimpCommand(p),
		acwrCommand(p),
		doublesCommand(p),
		backfillCommand(p),
		athleteCommand(p),
		tokensCommand(p),
		statusCommand(p),
		jobsCommand(p),
		queuesCommand(p),
		rejectsCommand(p),
		p.VersionCommand("enqueue"),
	)
	return root
}
