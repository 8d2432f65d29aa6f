package athlete

import (
	"context"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// ActiveDays is the number of days without an activity after which an athlete no longer
// counts as training. The ratio is then 0.
const ActiveDays = 28

// Latest has an athlete's ratios of today.
type Latest struct {
	UserID                 int32
	Today                  string  // YYYY-MM-DD in the athlete's time zone
	Last                   *string // YYYY-MM-DD, of the last activity within ActiveDays; nil for none, without ratios
	AcuteChronicRatio      *float32
	TrimpAcuteChronicRatio *float32
	Quality                []string
}

// latestQuery goes from athlete to athlete down the index on (user_id, date), with one
// descent each for any number of activities, and computes today's ratios of those who
// train. Stored ratios would not do, because they are those of the activity's day, and
// no index is ordered by ratio. Rest days do not count as activities.
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

// ReadLatest returns today's ratios of up to limit athletes with ids less than below, 0
// for no bound, greatest ids first.
func ReadLatest(ctx context.Context, db dbpool.Querier, below int32, limit int, rounding string) ([]Latest, error) {
	from := int32(math.MaxInt32)
	if below > 0 {
		from = below - 1
	}
	return dbpool.Collect(ctx, db, "read the ratios of today", pgx.RowToStructByPos[Latest], latestQuery, from, limit, ActiveDays, rounding)
}
