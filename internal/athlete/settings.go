package athlete

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/trainingload"
)

// Settings are the values in the application's table user_settings on which training load
// depends. No other column is read, because the table also holds tokens. Values are the
// raw texts, "" for none. They are validated when they are used, so that an invalid value
// that a flag overrides is no error.
type Settings struct {
	UserID    int32
	RestingHR string
	MaxHR     string
	Gender    string
	Timezone  string
}

// existsQuery runs before settingsQuery, because a failing statement would end the
// caller's transaction.
const existsQuery = `
-- name: user_settings_exist
SELECT to_regclass('user_settings') IS NOT NULL`

// SettingsExist reports whether the application's table exists.
func SettingsExist(ctx context.Context, db dbpool.Querier) (bool, error) {
	return dbpool.CollectOne(ctx, db, "check whether user_settings exists", pgx.RowTo[bool], existsQuery)
}

// settingsQuery reads the row as JSON, so that any subset and types of the columns
// work: a failed cast would end the caller's transaction.
const settingsQuery = `
-- name: read_user_settings
SELECT coalesce(u->>'resting_hr', ''), coalesce(u->>'max_hr', ''), coalesce(u->>'gender', ''), coalesce(u->>'timezone', '')
FROM (SELECT to_jsonb(user_settings) AS u FROM user_settings WHERE id = $1) AS entered`

// ReadSettings returns the settings of a user, all empty for a user without a row. The
// table must exist.
func ReadSettings(ctx context.Context, db dbpool.Querier, userID int32) (Settings, error) {
	s := Settings{UserID: userID}
	err := db.QueryRow(ctx, settingsQuery, userID).Scan(&s.RestingHR, &s.MaxHR, &s.Gender, &s.Timezone)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return s, fmt.Errorf("read user_settings of user %d: %w", userID, err)
	}
	return s, nil
}

// Location returns the user's time zone, nil if none is entered. It also accepts the
// provider's format: "(GMT+01:00) Europe/Berlin".
func (s Settings) Location() (*time.Location, error) {
	zone := strings.TrimSpace(s.Timezone)
	if strings.HasPrefix(zone, "(GMT") {
		_, zone, _ = strings.Cut(zone, ") ")
	}
	if strings.TrimSpace(s.Timezone) == "" {
		return nil, nil //nolint:nilnil // no time zone is entered, which is no error
	}
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" {
		return nil, s.fault([]string{fmt.Sprintf("timezone must be a name of the IANA database, as US/Pacific, got %q", s.Timezone)})
	}
	return location, nil
}

// HeartRate returns the user's values, or the fallback's for those that are missing or
// 0. Errors, including those for contradictory values, name user, column and value.
func (s Settings) HeartRate(fallback trainingload.HeartRate) (trainingload.HeartRate, error) {
	h := fallback
	var faults []string
	for _, entered := range []struct {
		column, value string
		rate          *float64
	}{{"resting_hr", s.RestingHR, &h.Resting}, {"max_hr", s.MaxHR, &h.Max}} {
		if strings.TrimSpace(entered.value) == "" {
			continue
		}
		rate, err := strconv.ParseFloat(strings.TrimSpace(entered.value), 64)
		switch {
		case err != nil:
			faults = append(faults, fmt.Sprintf("%s must be a number, got %q", entered.column, entered.value))
		case rate != 0:
			*entered.rate = rate
		}
	}
	if gender := strings.TrimSpace(s.Gender); gender != "" {
		var err error
		if h.Gender, err = trainingload.ParseGender(gender); err != nil {
			faults = append(faults, err.Error())
		}
	}
	if len(faults) == 0 {
		if err := h.Validate(); err != nil {
			faults = append(faults, err.Error())
		}
	}
	if len(faults) > 0 {
		return trainingload.HeartRate{}, s.fault(faults)
	}
	return h, nil
}

func (s Settings) fault(what []string) error {
	return fmt.Errorf("user_settings of user %d: %s", s.UserID, strings.Join(what, "; "))
}
