package athlete

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// Formula is how a user's values are computed: a row of acwr_settings.
type Formula struct {
	Name        string // standard, uncoupled, ewma or decay
	ChronicDays int
	DecayRate   float64
	Doubles     string // CountDoubles or IgnoreLater
	Own         bool   // false: the default of all users without a row
}

const formulaQuery = `
-- name: read_formula
SELECT formula, chronic_days, decay_rate, doubles, user_id <> 0 FROM acwr_settings WHERE user_id IN (0, $1) ORDER BY user_id DESC LIMIT 1`

// ReadFormula returns the formula of a user.
func ReadFormula(ctx context.Context, db dbpool.Querier, userID int32) (Formula, error) {
	return dbpool.CollectOne(ctx, db, fmt.Sprintf("read the formula of user %d", userID), pgx.RowToStructByPos[Formula], formulaQuery, userID)
}

// String describes the formula in words.
func (f Formula) String() string {
	switch f.Name {
	case "uncoupled":
		return fmt.Sprintf("uncoupled: the mean of 7 days by that of the %d days before them", f.ChronicDays-7)
	case "ewma":
		return fmt.Sprintf("ewma: exponentially weighted means of 7 and of %d days", f.ChronicDays)
	case "decay":
		return fmt.Sprintf("decay: the mean of 7 days by that of %d days, in which a day weighs e^(−%g) of the next", f.ChronicDays, f.DecayRate)
	}
	return fmt.Sprintf("%s: the mean of 7 days by that of %d days, these included", f.Name, f.ChronicDays)
}
