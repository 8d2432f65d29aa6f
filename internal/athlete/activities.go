package athlete

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// Activity is a stored activity of a day, with the columns from which its load
// is computed. NULLs are nil or empty.
type Activity struct {
	ActivityID   *int64
	Name         string
	Type         string
	StartTime    string
	Miles        *float64
	Feet         *float64
	Minutes      *float64
	AvgHeartRate *float64
	LoadMiles    *float64
	Trimp        *float64
	Ratio        *float64 // acute_chronic_ratio as stored
}

// activitiesQuery reads one day along the index on (user_id, date). It casts
// numbers to numeric, which shows a real as it was entered.
const activitiesQuery = `
-- name: read_activities_of_day
SELECT activity_id, coalesce(name, ''), coalesce(nullif(type, ''), sport_type, ''), coalesce(start_time, ''),
       distance_miles::numeric::float8, elevation_gain_feet::numeric::float8, duration_minutes::numeric::float8, avg_heart_rate::numeric::float8,
       total_load_miles::numeric::float8, trimp::numeric::float8, acute_chronic_ratio::float8
FROM activities WHERE user_id = $1 AND date = $2
ORDER BY activity_id LIMIT $3`

// ReadActivities returns up to limit activities of a user's day, in the order of their ids.
func ReadActivities(ctx context.Context, db dbpool.Querier, userID int32, day time.Time, limit int) ([]Activity, error) {
	return dbpool.Collect(ctx, db, fmt.Sprintf("read the activities of user %d", userID), pgx.RowToStructByPos[Activity], activitiesQuery, userID, day, limit)
}
