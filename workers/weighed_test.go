package workers

import (
	"context"
	"strings"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/oracle"
)

// weighed is a subquery of activities with their weights: zero if the athlete ignores
// likely doubles and an activity of the same day with a smaller id resembles it. It
// divides where the worker's rule multiplies, to be independent of it.
const weighed = `
WITH weighed AS MATERIALIZED (
	SELECT a.user_id, a.date, CASE WHEN d.is THEN 0 ELSE a.total_load_miles END AS total_load_miles, CASE WHEN d.is THEN 0 ELSE a.trimp END AS trimp
	FROM activities AS a
	CROSS JOIN LATERAL (SELECT
		(SELECT s.doubles FROM acwr_settings AS s WHERE s.user_id IN (0, a.user_id) ORDER BY s.user_id DESC LIMIT 1) = 'ignore-later' AND EXISTS (
			SELECT FROM activities AS b
			WHERE b.user_id = a.user_id AND b.date = a.date AND b.activity_id < a.activity_id
			  AND coalesce(b.sport_type = a.sport_type, b.type = a.type)
			  AND b.start_time::time BETWEEN a.start_time::time - interval '5 minutes' AND a.start_time::time + interval '5 minutes'
			  AND b.distance_miles::float8 BETWEEN a.distance_miles::float8 * 0.95 AND a.distance_miles::float8 / 0.95
			  AND b.duration_minutes::float8 BETWEEN a.duration_minutes::float8 * 0.95 AND a.duration_minutes::float8 / 0.95 AND b.duration_minutes > 0
		) AS is) AS d
), sums AS`

// mismatches is the oracle's check where some athletes ignore likely doubles. Their
// activities must begin at a time that PostgreSQL can parse, not around midnight.
func mismatches(ctx context.Context, db dbpool.Querier) (wrong []oracle.Mismatch, total int, err error) {
	query := strings.NewReplacer("\nWITH sums AS", weighed, "FROM activities b", "FROM weighed b").Replace(oracle.WrongQuery)
	return oracle.CheckBy(ctx, db, query, nil, nil)
}
