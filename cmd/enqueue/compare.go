package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/internal/athlete"
	"github.com/trainingmonkey/worker/internal/cli"
)

// compareFlags are the flags of acwr --compare.
type compareFlags struct {
	formula, rounding, doubles string
	chronicDays                int
	decayRate                  float64
}

func (f *compareFlags) register(c *cobra.Command) {
	standard := acwr.DefaultSettings()
	c.Flags().StringVar(&f.formula, "formula", "", "with --compare: `name` standard, uncoupled, ewma or decay (default: each user's own)")
	c.Flags().IntVar(&f.chronicDays, "chronic-days", standard.ChronicDays, "with --formula: `days` of the chronic window, 28 to 90")
	c.Flags().Float64Var(&f.decayRate, "decay-rate", standard.DecayRate, "with --formula decay: `rate` a day, 0.01 to 0.20")
	c.Flags().StringVar(&f.doubles, "doubles", "", "with --compare: count or ignore-later (default: each user's own)")
	c.Flags().StringVar(&f.rounding, "rounding", "", "with --compare: none or app (default: acwr.rounding of the configuration)")
}

// unused returns an error for flags that require --compare.
func (f *compareFlags) unused(c *cobra.Command) error {
	for _, name := range []string{"formula", "chronic-days", "decay-rate", "rounding", "doubles"} {
		if c.Flags().Changed(name) {
			return cli.Usagef("--%s needs --compare; a user's settings are a row of acwr_settings", name)
		}
	}
	return nil
}

// options validates the flags and reports every fault at once. user 0 means all users.
func (f *compareFlags) options(c *cobra.Command, user int32, configured string) (athlete.CompareOptions, error) {
	o := athlete.CompareOptions{UserID: user, Doubles: f.doubles}
	var faults []error
	if user < 0 {
		faults = append(faults, fmt.Errorf("--user must be a positive id, got %d", user))
	}
	var err error
	o.Rounding, err = acwr.ParseRounding(cmp.Or(f.rounding, configured))
	faults = append(faults, err)
	if f.doubles != "" {
		faults = append(faults, athlete.CheckDoubles(f.doubles))
	}
	if f.formula != "" {
		o.Settings = &acwr.Settings{Formula: acwr.Formula(f.formula), ChronicDays: f.chronicDays, DecayRate: f.decayRate}
		faults = append(faults, o.Settings.Validate())
	} else if c.Flags().Changed("chronic-days") || c.Flags().Changed("decay-rate") {
		faults = append(faults, errors.New("--chronic-days and --decay-rate need --formula"))
	}
	if err := errors.Join(faults...); err != nil {
		return o, &cli.UsageError{Err: err}
	}
	return o, nil
}

// compareACWR reads everything in one snapshot, without a time limit.
func (p *program) compareACWR(c *cobra.Command, user int32, flags *compareFlags) error {
	if _, err := flags.options(c, user, "none"); err != nil {
		return err
	}
	ctx := c.Context()
	return p.withDatabase(ctx, "enqueue acwr", func(db *database) error {
		o, err := flags.options(c, user, db.config.ACWR.Rounding)
		if err != nil {
			return err
		}
		return pgx.BeginTxFunc(ctx, db.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = '1h'`); err != nil {
				return err
			}
			report, err := athlete.Compare(ctx, tx, o)
			if err != nil {
				return err
			}
			return p.Show(report, func() { p.writeComparison(report) })
		})
	})
}

func (p *program) writeComparison(r *athlete.Comparison) {
	if r.Differing == 0 {
		p.Printf("no difference in %s\n", cli.Counted(r.Rows, "row", "rows"))
		return
	}
	p.Printf("%d of %s %s, %d of them never computed\n\n", r.Differing, cli.Counted(r.Rows, "row", "rows"), cli.Noun(r.Differing, "differs", "differ"), r.Missing)
	p.Table("COLUMN\tROWS\tNEVER COMPUTED\tLARGEST DIFFERENCE", cli.Rows(r.Columns, func(c athlete.ComparedColumn) string {
		return fmt.Sprintf("%s\t%d\t%d\t%s", c.Name, c.Rows, c.Missing, orDash("%.6g", c.Largest))
	}))
	p.Printf("\n")
	p.Table("USER\tDATE\tACTIVITY\tCOLUMN\tSTORED\tWOULD BE", cli.Rows(r.Examples, func(e athlete.Difference) string {
		return fmt.Sprintf("%d\t%s\t%s\t%s\t%s\t%.6g", e.UserID, e.Date, orDash("%d", e.ActivityID), e.Column, orDash("%.6g", e.Stored), e.WouldBe)
	}))
}
