// Package series reads an athlete's ACWR over time and shows it: as JSON, as a
// table, and as a small chart on a terminal.
package series

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Day is one calendar day with at least one activity. Results are nil until
// they have been computed.
type Day struct {
	Date       string `json:"date"` // YYYY-MM-DD
	Activities int    `json:"activities"`

	LoadMiles float64 `json:"total_load_miles"` // of the day
	Trimp     float64 `json:"trimp"`            // of the day

	SevenDayAvgLoad        *float32 `json:"seven_day_avg_load"`
	TwentyEightDayAvgLoad  *float32 `json:"twentyeight_day_avg_load"`
	SevenDayAvgTrimp       *float32 `json:"seven_day_avg_trimp"`
	TwentyEightDayAvgTrimp *float32 `json:"twentyeight_day_avg_trimp"`
	AcuteChronicRatio      *float32 `json:"acute_chronic_ratio"`
	TrimpAcuteChronicRatio *float32 `json:"trimp_acute_chronic_ratio"`
	NormalizedDivergence   *float32 `json:"normalized_divergence"`
}

// Querier is a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// seriesQuery reads one row per day. All rows of a day carry the same results,
// so the aggregate only picks one; the day's sums go through numeric, which
// shows a real as it was typed.
const seriesQuery = `
SELECT date::text, count(*), coalesce(sum(total_load_miles::numeric), 0)::float8, coalesce(sum(trimp::numeric), 0)::float8,
       max(seven_day_avg_load), max(twentyeight_day_avg_load), max(seven_day_avg_trimp), max(twentyeight_day_avg_trimp),
       max(acute_chronic_ratio), max(trimp_acute_chronic_ratio), max(normalized_divergence)
FROM activities
WHERE user_id = $1 AND ($2::date IS NULL OR date >= $2) AND ($3::date IS NULL OR date <= $3)
GROUP BY date
ORDER BY date`

// Read returns the days of a user between from and to, both included; a nil
// bound is open.
func Read(ctx context.Context, db Querier, userID int32, from, to *time.Time) ([]Day, error) {
	rows, err := db.Query(ctx, seriesQuery, userID, from, to)
	if err != nil {
		return nil, fmt.Errorf("read the series of user %d: %w", userID, err)
	}
	days, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Day])
	if err != nil {
		return nil, fmt.Errorf("read the series of user %d: %w", userID, err)
	}
	return days, nil
}
