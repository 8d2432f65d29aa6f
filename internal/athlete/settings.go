package athlete

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/trainingload"
)

// Settings are what the application knows of a user and training load depends on, in
// its table user_settings. No other column is read: the table holds tokens as well.
// They are as they stand in the table; "" where
// nothing does. A value is judged when it is asked for: one that nobody needs,
// because a flag decides, is no fault.
type Settings struct {
	UserID    int32
	RestingHR string
	MaxHR     string
	Gender    string
	Timezone  string
}

// existsQuery asks before settingsQuery does: a statement that fails would end
// the caller's transaction.
const existsQuery = `
-- name: user_settings_exist
SELECT to_regclass('user_settings') IS NOT NULL`

// SettingsExist tells whether the application's table is there.
func SettingsExist(ctx context.Context, db Querier) (exist bool, err error) {
	if err := db.QueryRow(ctx, existsQuery).Scan(&exist); err != nil {
		return false, fmt.Errorf("look for user_settings: %w", err)
	}
	return exist, nil
}

// settingsQuery goes through JSON so that it does not matter which of the
// columns a database has, and of which types: a cast would end the caller's
// transaction where a text is no number.
const settingsQuery = `
-- name: read_user_settings
SELECT coalesce(u->>'resting_hr', ''), coalesce(u->>'max_hr', ''), coalesce(u->>'gender', ''), coalesce(u->>'timezone', '')
FROM (SELECT to_jsonb(user_settings) AS u FROM user_settings WHERE id = $1) AS entered`

// ReadSettings returns the settings of a user, all empty for one whom the table does not
// have. The table must exist.
func ReadSettings(ctx context.Context, db Querier, userID int32) (Settings, error) {
	s := Settings{UserID: userID}
	err := db.QueryRow(ctx, settingsQuery, userID).Scan(&s.RestingHR, &s.MaxHR, &s.Gender, &s.Timezone)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return s, fmt.Errorf("read user_settings of user %d: %w", userID, err)
	}
	return s, nil
}

// Location is where the user lives, nil when nothing is entered. It takes the
// provider's way of writing as well: "(GMT+01:00) Europe/Berlin".
func (s Settings) Location() (*time.Location, error) {
	zone := strings.TrimSpace(s.Timezone)
	if strings.HasPrefix(zone, "(GMT") {
		_, zone, _ = strings.Cut(zone, ") ")
	}
	if strings.TrimSpace(s.Timezone) == "" {
		return nil, nil //nolint:nilnil // nothing is entered, and nothing is wrong with that
	}
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" {
		return nil, s.fault([]string{fmt.Sprintf("timezone must be a name of the IANA database, as US/Pacific, got %q", s.Timezone)})
	}
	return location, nil
}

// HeartRate is the user's, with the fallback's where nothing is entered, or 0.
// The error names user, column and value, also when the values do not go
// together.
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
