package athlete

import (
	"context"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"
)

// ActiveDays is within how many days of today an athlete who trains has an
// activity: a ratio without one is 0, and says that somebody stopped.
const ActiveDays = 28

// Latest is an athlete's ratio of today.
type Latest struct {
	UserID                 int32
	Today                  string  // YYYY-MM-DD where the athlete lives
	Last                   *string // YYYY-MM-DD, of the last activity within ActiveDays; nil for none, and then no ratios
	AcuteChronicRatio      *float32
	TrimpAcuteChronicRatio *float32
	Quality                []string
}

// latestQuery walks from athlete to athlete down the index of (user_id, date),
// one descent each however many activities they have, and computes the day of
// those who train. No index has the athletes by their ratio, and what is stored
// with an activity is the ratio of its day. Rest days are no activities.
const latestQuery = `
-- name: read_latest
WITH RECURSIVE walked AS (
	(SELECT user_id, 1 AS number FROM activities WHERE user_id <= $1 ORDER BY user_id DESC LIMIT 1)
	UNION ALL
	SELECT next.user_id, walked.number + 1
	FROM walked CROSS JOIN LATERAL (SELECT user_id FROM activities WHERE user_id < walked.user_id ORDER BY user_id DESC LIMIT 1) AS next
	WHERE walked.number < $2
)
SELECT walked.user_id, t.today::text, active.last::text, s.acute_chronic_ratio, s.trimp_acute_chronic_ratio, s.quality
FROM walked
CROSS JOIN LATERAL (SELECT acwr_today(walked.user_id) AS today OFFSET 0) AS t
LEFT JOIN LATERAL (
	SELECT a.date AS last FROM activities AS a
	WHERE a.user_id = walked.user_id AND a.date BETWEEN t.today - ($3 - 1) AND t.today AND a.type IS DISTINCT FROM 'rest'
	ORDER BY a.date DESC LIMIT 1) AS active ON true
LEFT JOIN LATERAL acwr_series(walked.user_id, t.today, t.today, $4) AS s ON active.last IS NOT NULL
ORDER BY walked.number`

// ReadLatest returns the ratios of today of up to most athletes, the greatest
// ids first, from those on that are below below; 0 is from the greatest.
func ReadLatest(ctx context.Context, db Querier, below int32, most int, rounding string) ([]Latest, error) {
	from := int32(math.MaxInt32)
	if below > 0 {
		from = below - 1
	}
	rows, _ := db.Query(ctx, latestQuery, from, most, ActiveDays, rounding)
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Latest])
	if err != nil {
		return nil, fmt.Errorf("read the ratios of today: %w", err)
	}
	return found, nil
}
