// Command worker drains TrainingMonkey's queues, migrates its database, and
// starts everything needed to try it out.
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/cli"
)

func main() { os.Exit(cli.Main(run)) }

// run is the whole program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	p := &cli.Program{Out: stdout, Err: stderr}
	return p.Run(ctx, rootCommand(p), args)
}

func rootCommand(p *cli.Program) *cobra.Command {
	root := &cobra.Command{
		Use:   "worker",
		Short: "Work TrainingMonkey's job queues",
		Long: "worker stores synced activities and keeps every athlete's acute:chronic workload ratio up to date.\n" +
			"Jobs wait in PostgreSQL; any number of workers drain them, many jobs in one transaction.",
		Example: "  worker demo            # everything at once, with sample data and a private PostgreSQL\n" +
			"  worker migrate up      # prepare the database of DATABASE_URL\n" +
			"  worker run             # work until SIGTERM",
	}
	root.AddCommand(
		runCommand(p),
		demoCommand(p),
		devCommand(p),
		migrateCommand(p),
		checkCommand(p),
		tokensCommand(p),
		p.VersionCommand("worker"),
	)
	return root
}
