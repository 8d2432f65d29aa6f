package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/series"
)

func acwrCommand(configFile *string, io streams) *cobra.Command {
	var flags dateFlags
	var comparing compareFlags
	var compare, asJSON bool
	c := &cobra.Command{
		Use:   "acwr [flags]",
		Short: "Show a user's acute:chronic workload ratio",
		Long: "Show load, averages and ratios of every calendar day, under the user's formula; on a terminal with a small chart.\n" +
			"A star marks days whose rows do not have these values yet.\n\n" +
			"With --compare, show how the stored values of a user, or of everyone, differ from what a formula or a rounding would give.",
		Example: "  enqueue acwr --user 7\n" +
			"  enqueue acwr --user 7 --from 2025-01-01 --json\n" +
			"  enqueue acwr --compare --formula ewma\n" +
			"  enqueue acwr --compare --user 7 --rounding app",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if compare {
				if flags.from != "" || flags.to != "" {
					return cli.Usagef("--compare takes no --from and no --to: values depend on what is before them")
				}
				return compareACWR(c.Context(), *configFile, c, flags.user, &comparing, asJSON, io)
			}
			if err := comparing.unused(c); err != nil {
				return err
			}
			from, to, err := flags.parse()
			if err != nil {
				return err
			}
			return showACWR(c.Context(), *configFile, flags.user, from, to, asJSON, io)
		},
	}
	flags.register(c)
	comparing.register(c)
	c.Flags().BoolVar(&compare, "compare", false, "compare the stored values with what a formula or a rounding would give")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON list of days, with --compare one object")
	return c
}

func showACWR(ctx context.Context, configFile string, user int32, from, to *time.Time, asJSON bool, io streams) error {
	return withDatabase(ctx, configFile, "enqueue acwr", func(pool *dbpool.Pool, settings config.Config) error {
		days, err := series.Read(ctx, pool, user, from, to, settings.ACWR.Rounding)
		if err != nil {
			return err
		}
		return writeACWR(user, days, from != nil || to != nil, asJSON, io)
	})
}

func writeACWR(user int32, days []series.Day, bounded, asJSON bool, io streams) error {
	if asJSON {
		if days == nil {
			days = []series.Day{}
		}
		return json.NewEncoder(io.out).Encode(days)
	}
	if len(days) == 0 {
		what := "no activities; put some in with: enqueue ingest"
		if bounded {
			what = "no activities in this time"
		}
		_, err := fmt.Fprintf(io.out, "user %d has %s\n", user, what)
		return err
	}
	if err := series.WriteTable(io.out, days, 0); err != nil {
		return err
	}
	if width, ok := terminalWidth(io.out); ok {
		_, _ = fmt.Fprintln(io.out)
		return series.WriteChart(io.out, days, width)
	}
	return nil
}

func terminalWidth(w any) (int, bool) {
	f, ok := w.(*os.File)
	if !ok || !cli.IsTerminal(f) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	return width, err == nil
}
