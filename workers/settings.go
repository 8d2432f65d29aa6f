package workers

import (
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/acwr"
)

// settingsQuery reads the formulas of those of the users who have one of their
// own, and the default, which is user 0's.
const settingsQuery = `
-- name: read_settings
SELECT user_id, formula, chronic_days, decay_rate FROM acwr_settings WHERE user_id = ANY($1::int[] || 0)`

// settingsByUser has the default under user 0.
type settingsByUser map[int32]acwr.Settings

func (s settingsByUser) of(userID int32) acwr.Settings {
	if own, ok := s[userID]; ok {
		return own
	}
	return s[0]
}

func readSettings(rows pgx.Rows) (settingsByUser, error) {
	settings := settingsByUser{}
	var userID int32
	var s acwr.Settings
	_, err := pgx.ForEachRow(rows, []any{&userID, &s.Formula, &s.ChronicDays, &s.DecayRate}, func() error {
		settings[userID] = s
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read acwr_settings: %w", err)
	}
	return settings, nil
}
