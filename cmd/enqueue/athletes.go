package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/athlete"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/trainingload"
)

// askApplication reads heart rates, gender and time zone from the application's
// user_settings, if the table exists and no flag overrides them. It queries within tx,
// while the input is read.
func (a *activities) askApplication(ctx context.Context, tx pgx.Tx) error {
	exist, err := athlete.SettingsExist(ctx, tx)
	if err != nil || !exist {
		return err
	}
	if a.options.UserID > 0 && a.options.Location == nil {
		s, err := athlete.ReadSettings(ctx, tx, a.options.UserID)
		if err != nil {
			return err
		}
		if a.options.HomeLocation, err = s.Location(); err != nil {
			return &cli.UsageError{Err: fmt.Errorf("%w; correct it, or give --timezone", err)}
		}
	}
	given, known := a.options.HeartRate, map[int32]trainingload.HeartRate{}
	a.options.UserHeartRate = func(userID int32) (trainingload.HeartRate, error) {
		if h, ok := known[userID]; ok {
			return h, nil
		}
		s, err := athlete.ReadSettings(ctx, tx, userID)
		if err != nil {
			a.failed = err
			return trainingload.HeartRate{}, err
		}
		a.flags.override(&s)
		h, err := s.HeartRate(given)
		if err != nil {
			a.warn(fmt.Sprintf("%v; TRIMP is left out of this athlete's activities: correct it and import them again, or give --resting-hr, --max-hr or --gender", err))
		}
		if len(known) < maxKnown {
			known[userID] = h
		}
		return h, nil
	}
	return nil
}

// maxKnown bounds the memory of an import of very many users.
const maxKnown = 100_000

// override clears the settings that a flag overrides.
func (f ingestFlags) override(s *athlete.Settings) {
	given := f.command.Flags().Changed
	if given("resting-hr") {
		s.RestingHR = ""
	}
	if given("max-hr") {
		s.MaxHR = ""
	}
	if given("gender") {
		s.Gender = ""
	}
}
