// Command enqueue puts work into TrainingMonkey's queues and shows its results.
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/migrations"
)

func main() {
	os.Exit(cli.Main(func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		return run(ctx, args, os.Stdin, stdout, stderr)
	}))
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// withDatabase calls fn with the configured database, which has to be migrated.
func withDatabase(ctx context.Context, configFile, application string, fn func(*dbpool.Pool, config.Config) error) error {
	settings, err := cli.LoadConfig(configFile)
	if err != nil {
		return err
	}
	pool, err := cli.OpenPool(ctx, settings, application)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := migrations.Check(ctx, pool.Pool, settings.River.Schema); err != nil {
		return err
	}
	return fn(pool, settings)
}

// run is the whole program.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	return cli.Execute(ctx, rootCommand(streams{stdin, stdout, stderr}), args, stdout, stderr)
}

func rootCommand(io streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "enqueue",
		Short: "Enqueue TrainingMonkey's work, show its results and operate its queues",
		Long: "enqueue puts activities and recalculations into the queues of the database that DATABASE_URL names;\n" +
			"a running worker works them.",
		Example: "  enqueue ingest --user 7 --timezone US/Pacific activities.csv\n" +
			"  enqueue acwr --user 7\n" +
			"  enqueue status",
	}
	configFile := root.PersistentFlags().String("config", "", "configuration `file` (default config.yaml if there is one)")
	root.AddCommand(
		ingestCommand(configFile, io),
		recalcCommand(configFile, io),
		trimpCommand(configFile, io),
		acwrCommand(configFile, io),
		doublesCommand(configFile, io),
		backfillCommand(configFile, io),
		athleteCommand(configFile, io),
		tokensCommand(configFile, io),
		statusCommand(configFile, io),
		jobsCommand(configFile, io),
		queuesCommand(configFile, io),
		rejectsCommand(configFile, io),
		cli.VersionCommand("enqueue", io.out),
	)
	return root
}
