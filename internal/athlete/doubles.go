package athlete

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/trainingmonkey/worker/dbpool"
)

// The settings of acwr_settings.doubles.
const (
	CountDoubles = "count"        // every activity counts
	IgnoreLater  = "ignore-later" // a likely double counts as 0
)

// CheckDoubles returns an error for an invalid setting of acwr_settings.doubles.
func CheckDoubles(s string) error {
	if s != CountDoubles && s != IgnoreLater {
		return fmt.Errorf("doubles must be %s or %s, got %q", CountDoubles, IgnoreLater, s)
	}
	return nil
}

// DoubleOfEarlier is the SQL condition that the activity a is a double. It finds the
// earlier activities of the day by the index on (user_id, date), and reads a again by its
// key, so that a statement that rarely evaluates it need not read the compared columns.
// The < on a's id keeps PostgreSQL from comparing all users' days in advance.
const DoubleOfEarlier = `EXISTS (
	SELECT FROM activities AS earlier JOIN activities AS later ON later.activity_id = a.activity_id
	WHERE earlier.user_id = a.user_id AND earlier.date = a.date AND earlier.activity_id < a.activity_id AND ` + resembles + `)`

const resembles = `acwr_resembles(
	earlier.sport_type, earlier.type, earlier.start_time, earlier.distance_miles, earlier.duration_minutes,
	later.sport_type, later.type, later.start_time, later.distance_miles, later.duration_minutes)`

// Double is an activity that is likely the same training as an earlier one: recorded by a
// watch and by an application, or uploaded twice. It is not stored: an activity is a
// double while one of the same athlete and date with a smaller id resembles it, by the
// rule of internal/trainingload.
type Double struct {
	UserID     int32   `json:"user_id"`
	Date       string  `json:"date"` // YYYY-MM-DD
	ActivityID int64   `json:"activity_id"`
	Name       *string `json:"name"`
	Type       *string `json:"type"`
	StartTime  string  `json:"start_time"`
	Miles      float64 `json:"distance_miles"`
	Minutes    float64 `json:"duration_minutes"`
	LoadMiles  float64 `json:"total_load_miles"`
	Trimp      float64 `json:"trimp"`
	EarlierID  int64   `json:"earlier_activity_id"` // the first that it resembles
	Counts     bool    `json:"counts"`              // false: it counts as 0
}

// listDoublesQuery reads the days of one athlete, newest first, along the index on
// (user_id, date). It casts numbers to numeric, which shows a real as it was entered.
const listDoublesQuery = `
-- name: list_doubles
SELECT later.user_id, later.date::text, later.activity_id, later.name, later.type, later.start_time,
       later.distance_miles::numeric::float8, later.duration_minutes::numeric::float8,
       coalesce(later.total_load_miles, 0)::numeric::float8, coalesce(later.trimp, 0)::numeric::float8, first.activity_id,
       (SELECT s.doubles = 'count' FROM acwr_settings AS s WHERE s.user_id IN (0, $1) ORDER BY s.user_id DESC LIMIT 1)
FROM activities AS later
CROSS JOIN LATERAL (
	SELECT earlier.activity_id FROM activities AS earlier
	WHERE earlier.user_id = later.user_id AND earlier.date = later.date AND earlier.activity_id < later.activity_id AND ` + resembles + `
	ORDER BY earlier.activity_id LIMIT 1) AS first
WHERE later.user_id = $1 AND later.date BETWEEN $2 AND $3
ORDER BY later.date DESC, later.activity_id DESC
LIMIT $4`

// ListDoubles returns a user's newest likely doubles between from and to, both included; a
// nil bound is none.
func ListDoubles(ctx context.Context, db dbpool.Querier, userID int32, from, to *time.Time, limit int) ([]Double, error) {
	return dbpool.Collect(ctx, db, fmt.Sprintf("list the likely doubles of user %d", userID), pgx.RowToStructByPos[Double], listDoublesQuery,
		userID, bound(from, pgtype.NegativeInfinity), bound(to, pgtype.Infinity), limit)
}

func bound(date *time.Time, none pgtype.InfinityModifier) pgtype.Date {
	if date == nil {
		return pgtype.Date{InfinityModifier: none, Valid: true}
	}
	return pgtype.Date{Time: *date, Valid: true}
}
