// Command enqueue puts work into TrainingMonkey's queues and shows its results.
package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/cli"
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

// run is the whole program.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	return cli.Execute(ctx, rootCommand(streams{stdin, stdout, stderr}), args, stdout, stderr)
}

func rootCommand(io streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "enqueue",
		Short: "Enqueue TrainingMonkey's work and look at its results",
		Long: "enqueue puts activities and recalculations into the queues of the database that DATABASE_URL names;\n" +
			"a running worker works them.",
		Example: "  enqueue ingest --user 7 --timezone US/Pacific activities.csv\n" +
			"  enqueue acwr --user 7",
	}
	configFile := root.PersistentFlags().String("config", "", "configuration `file` (default config.yaml if there is one)")
	root.AddCommand(
		ingestCommand(configFile, io),
		recalcCommand(configFile, io),
		acwrCommand(configFile, io),
	)
	return root
}
