package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/athlete"
	"github.com/trainingmonkey/worker/internal/cli"
)

func acwrCommand(p *program) *cobra.Command {
	var flags dateFlags
	var comparing compareFlags
	var compare, all bool
	c := &cobra.Command{
		Use:   "acwr [flags]",
		Short: "Show a user's acute:chronic workload ratio",
		Long: "Show load, averages and ratios of the calendar days up to today, under the user's formula; on a terminal with a\n" +
			"small chart. Without --from and --all it shows the last eight weeks. Today is the date in the time zone of the application's user_settings if it has one, and in UTC\n" +
			"otherwise. A star marks days whose rows do not have these values yet; words mark days with doubtful values:\n" +
			"short_history (the window begins before the first activity), no_heart_rate (an activity counts as a TRIMP of 0),\n" +
			"implausible (an activity is beyond what its sport allows), likely_double (an activity is likely the same training as\n" +
			"an earlier one of the day) and future (the day lies after today).\n\n" +
			"With --compare, show how the stored values of a user, or of all users, differ from those of another formula, rounding or\n" +
			"treatment of doubles.",
		Example: "  enqueue acwr --user 7\n" +
			"  enqueue acwr --user 7 --all\n" +
			"  enqueue acwr --user 7 --from 2025-01-01 --json\n" +
			"  enqueue acwr --compare --formula ewma\n" +
			"  enqueue acwr --compare --user 7 --rounding app\n" +
			"  enqueue acwr --compare --doubles ignore-later",
		RunE: func(c *cobra.Command, _ []string) error {
			if compare {
				if all {
					return cli.Usagef("--compare takes no --all: it compares every day, and shows the first differences")
				}
				if flags.from != "" || flags.to != "" {
					return cli.Usagef("--compare takes no --from and no --to: values depend on what is before them")
				}
				return p.compareACWR(c, flags.user, &comparing)
			}
			if err := comparing.unused(c); err != nil {
				return err
			}
			from, to, err := flags.parse()
			if err != nil {
				return err
			}
			limit := eightWeeks
			if all || from != nil {
				limit = 0
			}
			return p.withDatabase(c.Context(), "enqueue acwr", func(db *database) error {
				return db.showACWR(c.Context(), flags.user, from, to, limit)
			})
		},
	}
	flags.register(c, "today")
	comparing.register(c)
	c.Flags().BoolVar(&compare, "compare", false, "compare the stored values with what a formula, a rounding or another way with doubles would give")
	c.Flags().BoolVar(&all, "all", false, "show every day from the first activity on")
	p.JSONFlag(c, "a JSON list of all days, with --compare one object")
	return c
}

// eightWeeks is how many days are shown by default: two windows of the usual formula.
const eightWeeks = 56

func (db *database) showACWR(ctx context.Context, user int32, from, to *time.Time, limit int) error {
	days, err := athlete.ReadDays(ctx, db.pool, user, from, to, db.config.ACWR.Rounding)
	if err != nil {
		return err
	}
	var later athlete.Later
	if to == nil {
		if later, err = athlete.ReadLater(ctx, db.pool, user); err != nil {
			return err
		}
	}
	if later.Activities > 0 {
		db.Warnf("%s; show with --to\n", later)
	}
	if db.JSON {
		return db.Encode(append([]athlete.Day{}, days...))
	}
	if len(days) == 0 {
		db.writeNoACWR(user, from != nil || to != nil, later)
		return nil
	}
	if left := len(days) - limit; limit > 0 && left > 0 {
		db.Printf("(%s not shown; show them with --all)\n", cli.Counted(left, "earlier day is", "earlier days are"))
		if last := lastActivity(days); last != "" && last < days[left].Date {
			db.Printf("(no activity since %s; show the weeks up to it with --to %s)\n", last, last)
		}
		days = days[left:]
	}
	why := ""
	if athlete.StaleDays(days) > 0 {
		if why, err = admin.WhyStale(ctx, db.pool, db.schema, user); err != nil {
			return err
		}
	}
	db.Printf("%s", athlete.Table(days, 0, why))
	if width, ok := cli.TerminalWidth(db.Out); ok {
		db.Printf("\n%s", athlete.Chart(days, width))
	}
	return nil
}

// lastActivity is the date of the last day with activities; empty for none.
func lastActivity(days []athlete.Day) string {
	for _, day := range slices.Backward(days) {
		if day.Activities > 0 {
			return day.Date
		}
	}
	return ""
}

func (p *program) writeNoACWR(user int32, bounded bool, later athlete.Later) {
	what := fmt.Sprintf("no activities; put some in with: enqueue ingest --user %d FILE", user)
	switch {
	case bounded:
		what = "no activities in this time"
	case later.Activities > 0:
		what = "no activities up to today"
	}
	p.Printf("user %d has %s\n", user, what)
}
