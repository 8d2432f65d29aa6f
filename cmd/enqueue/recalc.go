package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/jobs"
)

// dateFlags are --user, --from and --to.
type dateFlags struct {
	user     int32
	from, to string
}

func (f *dateFlags) register(c *cobra.Command, last string) {
	userFlag(c, &f.user)
	c.Flags().StringVar(&f.from, "from", "", "first `date`, YYYY-MM-DD (default: the user's first)")
	c.Flags().StringVar(&f.to, "to", "", "last `date`, YYYY-MM-DD (default: "+last+")")
}

// parse validates the flags; an empty date is nil.
func (f *dateFlags) parse() (from, to *time.Time, err error) {
	from, to, err = parseDates(f.from, f.to)
	if err := errors.Join(checkUser(f.user), err); err != nil {
		return nil, nil, &cli.UsageError{Err: err}
	}
	return from, to, nil
}

// parseDates reads --from and --to; an empty one is nil.
func parseDates(fromText, toText string) (from, to *time.Time, err error) {
	var faults []error
	read := func(flag, text string) *time.Time {
		if text == "" {
			return nil
		}
		date, err := jobs.ParseDate(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s %w", flag, err))
			return nil
		}
		return &date
	}
	from, to = read("--from", fromText), read("--to", toText)
	if from != nil && to != nil && to.Before(*from) {
		faults = append(faults, fmt.Errorf("--to %s lies before --from %s", toText, fromText))
	}
	return from, to, errors.Join(faults...)
}

func recalcCommand(p *program) *cobra.Command {
	var flags dateFlags
	var wait bool
	c := &cobra.Command{
		Use:   "recalc --user N [flags]",
		Short: "Enqueue the recalculation of a user's ACWR",
		Long: "Enqueue a recalculation for the days from --from to --to and the days after them that they count into: 27 with the\n" +
			"standard formula, more with a longer chronic window. Rows that are up to date are not written.",
		Example: "  enqueue recalc --user 7 --wait\n" +
			"  enqueue recalc --user 7 --from 2025-01-01 --to 2025-01-31",
		RunE: func(c *cobra.Command, _ []string) error {
			from, to, err := flags.parse()
			if err != nil {
				return err
			}
			return p.withDatabase(c.Context(), "enqueue recalc", func(db *database) error {
				return db.recalc(c.Context(), flags.user, from, to, wait)
			})
		},
	}
	flags.register(c, "the user's last")
	c.Flags().BoolVar(&wait, "wait", false, "wait until it is done")
	return c
}

// spanQuery finds the dates of a user's first and last activity that a job can name.
const spanQuery = `
-- name: recalc_span
SELECT min(date), max(date) FROM activities WHERE user_id = $1 AND date BETWEEN '1900-01-01' AND '2999-12-31'`

func (db *database) recalc(ctx context.Context, user int32, from, to *time.Time, wait bool) error {
	var first, last *time.Time
	if err := db.pool.QueryRow(ctx, spanQuery, user).Scan(&first, &last); err != nil {
		return err
	}
	if first == nil {
		return cli.Usagef("user %d has no activities; put some in with: enqueue ingest --user %d FILE", user, user)
	}
	from, to = cmp.Or(from, first), cmp.Or(to, last)
	if to.Before(*from) {
		db.Printf("nothing to do: user %d has activities from %s to %s\n", user, first.Format(time.DateOnly), last.Format(time.DateOnly))
		return nil
	}
	span := jobs.DateRange{UserID: user, From: from.Format(time.DateOnly), To: to.Format(time.DateOnly)}
	id, err := db.enqueuer.Recalc(ctx, jobs.PriorityLive, jobs.ACWRRecalc{Ranges: []jobs.DateRange{span}})
	if err != nil {
		return err
	}
	db.Printf("enqueued the recalculation of user %d, %s to %s, as job %d\n", user, span.From, span.To, id)
	writing, err := admin.ReadWriting(ctx, db.pool)
	if err != nil {
		return err
	}
	switch withheld := writing.Withheld(user); {
	case wait && writing.Mode == admin.WriteOff:
		return fmt.Errorf("no longer waiting: %s; job %d stays enqueued until a worker computes results", withheld, id)
	case !wait && withheld != "":
		db.Printf("what becomes of it: %s\n", withheld)
		return nil
	case !wait:
		return nil
	}
	failed, err := db.recalculated(ctx, id-1)
	if err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%s failed; see: enqueue jobs list --kind acwr_recalc --state discarded,cancelled", cli.Counted(failed, "recalculation", "recalculations"))
	}
	if writing, err = admin.ReadWriting(ctx, db.pool); err != nil {
		return err
	}
	db.sayRecalculated(user, writing)
	return nil
}

// sayRecalculated prints the outcome, depending on whether workers write results.
func (p *program) sayRecalculated(user int32, writing admin.Writing) {
	said := fmt.Sprintf("the results of user %d are written", user)
	switch withheld := writing.Withheld(user); {
	case writing.Mode == admin.WriteMixed, writing.Mode == admin.WriteUnknown:
		said = "recalculated; " + withheld
	case withheld != "":
		said = "recalculated, and nothing was written: " + withheld
	}
	p.Printf("%s\n", said)
}
