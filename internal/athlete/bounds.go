package athlete

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// Bounds are the default first and last day of a series.
type Bounds struct {
	First *time.Time // of the first activity; nil for none
	Today time.Time  // in the user's time zone
}

// boundsQuery reads the first date from the index of the series, limited to the range in
// which PostgreSQL's and Go's dates agree.
const boundsQuery = `
-- name: read_bounds
SELECT (SELECT least(greatest(min(date), today - 150000), today + 150000) FROM activities WHERE user_id = $1 AND isfinite(date) HAVING min(date) IS NOT NULL), today
FROM (SELECT acwr_today($1) AS today) AS t`

// ReadBounds returns the bounds of a user's series.
func ReadBounds(ctx context.Context, db dbpool.Querier, userID int32) (Bounds, error) {
	return dbpool.CollectOne(ctx, db, fmt.Sprintf("read the bounds of user %d", userID), pgx.RowToStructByPos[Bounds], boundsQuery, userID)
}
