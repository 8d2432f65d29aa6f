package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/athlete"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/workers"
)

// recomputedTRIMPs is what trimp --json prints.
type recomputedTRIMPs struct {
	UserID    int32   `json:"user_id"`
	Preview   bool    `json:"preview"`
	RestingHR float64 `json:"resting_hr"`
	MaxHR     float64 `json:"max_hr"`
	Gender    string  `json:"gender"`
	workers.TRIMPs
	WaitingJobs int64 `json:"waiting_jobs"`
}

func trimpCommand(p *program) *cobra.Command {
	var dates dateFlags
	var heartRate ingestFlags
	var yes bool
	c := &cobra.Command{
		Use:   "trimp --user N [flags]",
		Short: "Recompute a user's TRIMPs after heart rates or gender changed",
		Long: "Recompute TRIMPs from the stored average heart rates and durations of activities, and enqueue the\n" +
			"recalculation of the ACWR of their days and of those that they count into. Only a TRIMP whose trimp_calculation_method is average\n" +
			"is changed: a TRIMP from the heart-rate stream, without a method, or of 0 for lack of a heart rate stays.\n" +
			"Heart rates and gender come from the application's user_settings, if it has them, unless a flag overrides them.\n\n" +
			"It shows what it would change, unless --yes is given.",
		Example: "  enqueue trimp --user 7\n" +
			"  enqueue trimp --user 7 --from 2025-01-01 --resting-hr 48 --max-hr 186 --yes",
		RunE: func(c *cobra.Command, _ []string) error {
			from, to, err := dates.parse()
			given, heartErr := heartRate.heartRate()
			if err := errors.Join(err, heartErr); err != nil {
				return &cli.UsageError{Err: err}
			}
			return readAndShow(c.Context(), p, "enqueue trimp", func(db *database) (recomputedTRIMPs, error) {
				h, err := userHeartRate(c.Context(), db.pool, dates.user, heartRate, given)
				if err != nil {
					return recomputedTRIMPs{}, err
				}
				return db.recomputeTRIMPs(c.Context(), dates.user, from, to, h, yes)
			}, p.writeTRIMPs)
		},
	}
	dates.register(c, "the user's last")
	heartRate.registerHeartRate(c)
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	p.JSONFlag(c, "a JSON object")
	return c
}

// registerHeartRate adds the flags that override what an athlete has entered.
func (f *ingestFlags) registerHeartRate(c *cobra.Command) {
	f.command = c
	c.Flags().Float64Var(&f.restingHR, "resting-hr", trainingload.DefaultHeartRate.Resting, "resting heart rate, for TRIMP")
	c.Flags().Float64Var(&f.maxHR, "max-hr", trainingload.DefaultHeartRate.Max, "maximum heart rate, for TRIMP")
	c.Flags().StringVar(&f.gender, "gender", string(trainingload.DefaultHeartRate.Gender), "male or female, for TRIMP")
}

// heartRate validates those flags together.
func (f ingestFlags) heartRate() (trainingload.HeartRate, error) {
	gender, err := trainingload.ParseGender(f.gender)
	if err != nil {
		return trainingload.HeartRate{}, fmt.Errorf("--%w", err) // it begins with the name
	}
	h := trainingload.HeartRate{Resting: f.restingHR, Max: f.maxHR, Gender: gender}
	if err := h.Validate(); err != nil {
		return h, fmt.Errorf("--resting-hr, --max-hr: %w", err)
	}
	return h, nil
}

// userHeartRate returns the heart rates that an import uses for the user: from a flag,
// from the user's settings, or the default.
func userHeartRate(ctx context.Context, pool *dbpool.Pool, user int32, flags ingestFlags, given trainingload.HeartRate) (trainingload.HeartRate, error) {
	exist, err := athlete.SettingsExist(ctx, pool)
	if err != nil || !exist {
		return given, err
	}
	s, err := athlete.ReadSettings(ctx, pool, user)
	if err != nil {
		return given, err
	}
	flags.override(&s)
	h, err := s.HeartRate(given)
	if err != nil {
		return h, &cli.UsageError{Err: fmt.Errorf("%w; correct it, or give --resting-hr, --max-hr or --gender", err)}
	}
	return h, nil
}

func (db *database) recomputeTRIMPs(ctx context.Context, user int32, from, to *time.Time, h trainingload.HeartRate, yes bool) (recomputedTRIMPs, error) {
	result := recomputedTRIMPs{UserID: user, Preview: !yes, RestingHR: h.Resting, MaxHR: h.Max, Gender: string(h.Gender)}
	waiting, err := db.jobs.PreviewJobs(ctx, queue.Cancel, queue.Filter{Kinds: []string{jobs.KindActivityIngest}, User: user})
	if err != nil {
		return result, err
	}
	result.WaitingJobs = waiting.Jobs
	if yes {
		result.TRIMPs, err = workers.RecomputeTRIMPs(ctx, db.pool, db.enqueuer, user, from, to, h)
	} else {
		result.TRIMPs, err = workers.PreviewTRIMPs(ctx, db.pool, user, from, to, h)
	}
	return result, err
}

func (p *program) writeTRIMPs(r recomputedTRIMPs) {
	p.Printf("resting heart rate %g, maximum %g, %s\n", r.RestingHR, r.MaxHR, r.Gender)
	for _, e := range r.Examples {
		p.Printf("activity %d on %s: TRIMP %g → %g\n", e.ActivityID, e.Date, e.Was, e.TRIMP)
	}
	if more := r.Changed - len(r.Examples); more > 0 {
		p.Printf("and %d more\n", more)
	}
	if r.Unusable > 0 {
		p.Printf("left as they are: %s without a heart rate or a duration\n", cli.Counted(r.Unusable, "activity", "activities"))
	}
	if r.WaitingJobs > 0 {
		p.Warnf("%s, with a TRIMP from before: run this again afterwards\n", cli.Counted(r.WaitingJobs, "import of the user still waits", "imports of the user still wait"))
	}
	of := fmt.Sprintf("%d of %s with a TRIMP from the average heart rate", r.Changed, cli.Counted(r.Averages, "activity", "activities"))
	switch {
	case r.Preview && r.Changed > 0:
		p.Printf("%s would change; nothing was done. Do it with --yes\n", of)
	case r.Changed == 0:
		p.Printf("%s would change: nothing to do\n", of)
	default:
		p.Printf("%s changed; enqueued their recalculation in %s\n", of, cli.Counted(len(r.JobIDs), "job", "jobs"))
	}
}
