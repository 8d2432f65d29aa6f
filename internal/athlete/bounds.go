package athlete

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Bounds are the default first and last day of a series.
type Bounds struct {
	First *time.Time // of the first activity; nil for none
	Today time.Time  // where the user lives
}

// boundsQuery reads the first date from the index of the series, limited to the range in
// which PostgreSQL's and Go's dates agree.
const boundsQuery = `
-- name: read_bounds
SELECT (SELECT least(greatest(min(date), today - 150000), today + 150000) FROM activities WHERE user_id = $1 HAVING min(date) IS NOT NULL), today
FROM (SELECT acwr_today($1) AS today) AS t`

// ReadBounds returns the bounds of a user's series.
func ReadBounds(ctx context.Context, db Querier, userID int32) (b Bounds, err error) {
	rows, _ := db.Query(ctx, boundsQuery, userID)
	b, err = pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Bounds])
	if err != nil {
		return b, fmt.Errorf("read the bounds of user %d: %w", userID, err)
	}
	return b, nil
}
