// Package athletes reads what the application knows of its users and training
// load depends on, where its table user_settings exists. It reads no other
// column: the table holds tokens as well.
package athletes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/trainingload"
)

// Settings are what a user has entered; nil where nothing is.
type Settings struct {
	RestingHR *float64
	MaxHR     *float64
	Gender    *trainingload.Gender
	Location  *time.Location
}

// Querier runs a query of one row: a pool, a connection or a transaction.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// existsQuery asks before settingsQuery does: a statement that fails would end
// the caller's transaction.
const existsQuery = `SELECT to_regclass('user_settings') IS NOT NULL`

// Exist tells whether the application's table is there.
func Exist(ctx context.Context, db Querier) (exist bool, err error) {
	if err := db.QueryRow(ctx, existsQuery).Scan(&exist); err != nil {
		return false, fmt.Errorf("look for user_settings: %w", err)
	}
	return exist, nil
}

// settingsQuery goes through JSON so that it does not matter which of the
// columns a database has. What is empty has not been entered.
const settingsQuery = `
SELECT (u->>'resting_hr')::float8, (u->>'max_hr')::float8, nullif(u->>'gender', ''), nullif(u->>'timezone', '')
FROM (SELECT to_jsonb(user_settings) AS u FROM user_settings WHERE id = $1) AS entered`

// Read returns the settings of a user, all nil for one whom the table does not
// have. The table must exist. What cannot be used is an error that names user,
// column and value.
func Read(ctx context.Context, db Querier, userID int32) (Settings, error) {
	var s Settings
	var gender, zone *string
	err := db.QueryRow(ctx, settingsQuery, userID).Scan(&s.RestingHR, &s.MaxHR, &gender, &zone)
	if errors.Is(err, pgx.ErrNoRows) {
		return Settings{}, nil
	}
	if err != nil {
		return Settings{}, fmt.Errorf("read user_settings of user %d: %w", userID, err)
	}
	var faults []error
	if gender != nil {
		parsed, err := trainingload.ParseGender(*gender)
		if err != nil {
			faults = append(faults, fmt.Errorf("user_settings of user %d: %w", userID, err))
		}
		s.Gender = &parsed
	}
	if zone != nil {
		if s.Location, err = time.LoadLocation(*zone); err != nil {
			faults = append(faults, fmt.Errorf("user_settings of user %d: timezone: %w", userID, err))
		}
	}
	return s, errors.Join(faults...)
}

// HeartRate is the user's, with the fallback's where nothing is entered. It is
// an error when the two do not go together.
func (s Settings) HeartRate(fallback trainingload.HeartRate) (trainingload.HeartRate, error) {
	if s.RestingHR != nil {
		fallback.Resting = *s.RestingHR
	}
	if s.MaxHR != nil {
		fallback.Max = *s.MaxHR
	}
	if s.Gender != nil {
		fallback.Gender = *s.Gender
	}
	return fallback, fallback.Validate()
}
