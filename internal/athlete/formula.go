package athlete

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
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
func ReadFormula(ctx context.Context, db Querier, userID int32) (f Formula, err error) {
	rows, _ := db.Query(ctx, formulaQuery, userID)
	f, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Formula])
	if err != nil {
		return f, fmt.Errorf("read the formula of user %d: %w", userID, err)
	}
	return f, nil
}

// String says what is divided by what.
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
