package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/athlete"
	"github.com/trainingmonkey/worker/internal/cli"
)

func doublesCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "doubles",
		Short: "Show likely doubles: the same training stored twice",
		Long: "A training that a watch and an application recorded, or that was uploaded again under another id, counts twice.\n" +
			"An activity is a likely double when one of the same user and day with a smaller id has the same kind of sport, a\n" +
			"start within five minutes, and a distance and a duration within 5 %; unknown values match nothing. It counts\n" +
			"unless the user's row of acwr_settings has doubles = 'ignore-later': then it weighs nothing, and its row stays.",
		Example: "  enqueue doubles list --user 7\n" +
			"  enqueue doubles list --user 7 --json",
	}
	c.AddCommand(doublesListCommand(p))
	return c
}

func doublesListCommand(p *program) *cobra.Command {
	var flags dateFlags
	var limit int
	c := &cobra.Command{
		Use:   "list --user N [flags]",
		Short: "List a user's newest likely doubles",
		Example: "  enqueue doubles list --user 7\n" +
			"  enqueue doubles list --user 7 --from 2025-01-01 --json",
		RunE: func(c *cobra.Command, _ []string) error {
			from, to, err := flags.parse()
			if err := errors.Join(err, checkLimit(limit)); err != nil {
				return err
			}
			return readAndShow(c.Context(), p, "enqueue doubles", func(db *database) ([]athlete.Double, error) {
				return athlete.ListDoubles(c.Context(), db.pool, flags.user, from, to, limit)
			}, func(found []athlete.Double) {
				if len(found) == 0 {
					p.Printf("user %d has no likely doubles%s\n", flags.user, map[bool]string{true: " in this time"}[from != nil || to != nil])
					return
				}
				counts := map[bool]string{true: "yes", false: "no"}
				p.writeNewest("doubles", "DATE\tACTIVITY\tEARLIER\tSTART\tMILES\tMINUTES\tLOAD\tTRIMP\tCOUNTS\tNAME", cli.Rows(found, func(d athlete.Double) string {
					name := *cmp.Or(d.Name, d.Type, new("-"))
					return fmt.Sprintf("%s\t%d\t%d\t%s\t%.6g\t%.6g\t%.6g\t%.6g\t%s\t%s", d.Date, d.ActivityID, d.EarlierID, cli.OneLine(d.StartTime),
						d.Miles, d.Minutes, d.LoadMiles, d.Trimp, counts[d.Counts], cli.OneLine(name))
				}), limit)
			})
		},
	}
	flags.register(c, "the user's last")
	limitFlag(c, &limit)
	p.JSONFlag(c, "a JSON list")
	return c
}
