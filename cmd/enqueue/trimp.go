package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/athlete"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/workers"
)

// recomputedTRIMPs is what trimp --json prints.
type recomputedTRIMPs struct {
	UserID      int32             `json:"user_id"`
	Preview     bool              `json:"preview"`
	RestingHR   float64           `json:"resting_hr"`
	MaxHR       float64           `json:"max_hr"`
	Gender      string            `json:"gender"`
	Averages    int               `json:"averages"`
	Unusable    int               `json:"unusable"`
	Changed     int               `json:"changed"`
	Examples    []recomputedTRIMP `json:"examples"`
	JobIDs      []int64           `json:"job_ids"`
	WaitingJobs int64             `json:"waiting_jobs"`
}

type recomputedTRIMP struct {
	ActivityID int64   `json:"activity_id"`
	Date       string  `json:"date"`
	Was        float64 `json:"was"`
	TRIMP      float64 `json:"trimp"`
}

func trimpCommand(configFile *string, io streams) *cobra.Command {
	var dates dateFlags
	var heartRate ingestFlags
	var yes, asJSON bool
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
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			from, to, err := dates.parse()
			heartRate.given = map[string]bool{}
			c.Flags().Visit(func(f *pflag.Flag) { heartRate.given[f.Name] = true })
			given, heartErr := heartRate.heartRate()
			if err := errors.Join(err, heartErr); err != nil {
				return &cli.UsageError{Err: err}
			}
			return withDatabase(c.Context(), *configFile, "enqueue trimp", func(pool *dbpool.Pool, settings config.Config) error {
				h, err := userHeartRate(c.Context(), pool, dates.user, heartRate, given)
				if err != nil {
					return err
				}
				result, err := recomputeTRIMPs(c.Context(), pool, settings, dates.user, from, to, h, yes)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(io.out).Encode(result)
				}
				return result.write(io)
			})
		},
	}
	dates.register(c, "the user's last")
	heartRate.registerHeartRate(c.Flags())
	c.Flags().BoolVar(&yes, "yes", false, "do it")
	c.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return c
}

// registerHeartRate adds the flags that override what an athlete has entered.
func (f *ingestFlags) registerHeartRate(flags *pflag.FlagSet) {
	flags.Float64Var(&f.restingHR, "resting-hr", trainingload.DefaultHeartRate.Resting, "resting heart rate, for TRIMP")
	flags.Float64Var(&f.maxHR, "max-hr", trainingload.DefaultHeartRate.Max, "maximum heart rate, for TRIMP")
	flags.StringVar(&f.gender, "gender", string(trainingload.DefaultHeartRate.Gender), "male or female, for TRIMP")
}

// heartRate validates those flags together.
func (f ingestFlags) heartRate() (trainingload.HeartRate, error) {
	gender, err := trainingload.ParseGender(f.gender)
	if err != nil {
		return trainingload.HeartRate{}, fmt.Errorf("--gender: %w", err)
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

func recomputeTRIMPs(ctx context.Context, pool *dbpool.Pool, settings config.Config, user int32, from, to *time.Time, h trainingload.HeartRate, yes bool) (recomputedTRIMPs, error) {
	result := recomputedTRIMPs{UserID: user, Preview: !yes, RestingHR: h.Resting, MaxHR: h.Max, Gender: string(h.Gender), Examples: []recomputedTRIMP{}, JobIDs: []int64{}}
	admin, err := queue.NewAdmin(pool, queue.Schema(settings.River.Schema))
	if err != nil {
		return result, err
	}
	waiting, err := admin.PreviewJobs(ctx, queue.Cancel, queue.Filter{Kinds: []string{jobs.KindActivityIngest}, User: user})
	if err != nil {
		return result, err
	}
	result.WaitingJobs = waiting.Jobs
	var found workers.TRIMPs
	if yes {
		enqueuer, err := jobs.NewEnqueuer(pool.Pool, settings.River.Schema)
		if err != nil {
			return result, err
		}
		if found, err = workers.RecomputeTRIMPs(ctx, pool, enqueuer, user, from, to, h); err != nil {
			return result, err
		}
	} else if found, err = workers.PreviewTRIMPs(ctx, pool, user, from, to, h); err != nil {
		return result, err
	}
	result.Averages, result.Unusable, result.Changed = found.Averages, found.Unusable, found.Changed
	result.JobIDs = append(result.JobIDs, found.JobIDs...)
	for _, c := range found.First {
		result.Examples = append(result.Examples, recomputedTRIMP{c.ActivityID, c.Date.Format(time.DateOnly), c.Was, c.TRIMP})
	}
	return result, nil
}

func (r recomputedTRIMPs) write(io streams) error {
	_, _ = fmt.Fprintf(io.out, "resting heart rate %g, maximum %g, %s\n", r.RestingHR, r.MaxHR, r.Gender)
	for _, e := range r.Examples {
		_, _ = fmt.Fprintf(io.out, "activity %d on %s: TRIMP %g → %g\n", e.ActivityID, e.Date, e.Was, e.TRIMP)
	}
	if more := r.Changed - len(r.Examples); more > 0 {
		_, _ = fmt.Fprintf(io.out, "and %d more\n", more)
	}
	if r.Unusable > 0 {
		_, _ = fmt.Fprintf(io.out, "left as they are: %s without a heart rate or a duration\n", counted(r.Unusable, "activity", "activities"))
	}
	if r.WaitingJobs > 0 {
		_, _ = fmt.Fprintf(io.err, "%s, with a TRIMP from before: run this again afterwards\n", counted(int(r.WaitingJobs), "import of the user still waits", "imports of the user still wait"))
	}
	of := fmt.Sprintf("%d of %s with a TRIMP from the average heart rate", r.Changed, counted(r.Averages, "activity", "activities"))
	switch {
	case r.Preview && r.Changed > 0:
		_, err := fmt.Fprintf(io.out, "%s would change; nothing was done. Do it with --yes\n", of)
		return err
	case r.Changed == 0:
		_, err := fmt.Fprintf(io.out, "%s differ: nothing to do\n", of)
		return err
	}
	_, err := fmt.Fprintf(io.out, "%s changed; enqueued their recalculation in %s\n", of, counted(len(r.JobIDs), "job", "jobs"))
	return err
}
