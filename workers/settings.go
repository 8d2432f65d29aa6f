package workers

import (
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/acwr"
)

// settingsQuery reads the users' own settings and the default, which is the row of user
// 0.
const settingsQuery = `
-- name: read_settings
SELECT user_id, formula, chronic_days, decay_rate, doubles = 'ignore-later' FROM acwr_settings WHERE user_id = ANY($1::int[] || 0)`

// athleteSettings is a row of acwr_settings.
type athleteSettings struct {
	acwr.Settings
	ignoresLater bool // the later of two likely doubles counts as 0
}

// settingsByUser has the default under user 0.
type settingsByUser map[int32]athleteSettings

func (s settingsByUser) of(userID int32) athleteSettings {
	if own, ok := s[userID]; ok {
		return own
	}
	return s[0]
}

func readSettings(rows pgx.Rows) (settingsByUser, error) {
	settings := settingsByUser{}
	var userID int32
	var s athleteSettings
	_, err := pgx.ForEachRow(rows, []any{&userID, &s.Formula, &s.ChronicDays, &s.DecayRate, &s.ignoresLater}, func() error {
		settings[userID] = s
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read acwr_settings: %w", err)
	}
	return settings, nil
}
