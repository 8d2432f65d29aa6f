// Package oracle computes the expected ACWR columns in plain SQL, sharing no code with
// the worker, and generates training histories. The demo, the tests and the benchmarks
// check against it.
package oracle

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// WrongQuery computes each row's seven results from the definition, by one correlated
// sub-query per window, and compares them exactly in the columns' type; a NULL is never
// correct. Rows without a user or a date have no results. The id of a row without one is 0.
const WrongQuery = `
WITH sums AS MATERIALIZED (
	SELECT a.*,
		(SELECT coalesce(sum(b.total_load_miles::float8), 0) FROM activities b WHERE b.user_id = a.user_id AND b.date BETWEEN a.date - 6 AND a.date) AS load7,
		(SELECT coalesce(sum(b.total_load_miles::float8), 0) FROM activities b WHERE b.user_id = a.user_id AND b.date BETWEEN a.date - 27 AND a.date) AS load28,
		(SELECT coalesce(sum(b.trimp::float8), 0) FROM activities b WHERE b.user_id = a.user_id AND b.date BETWEEN a.date - 6 AND a.date) AS trimp7,
		(SELECT coalesce(sum(b.trimp::float8), 0) FROM activities b WHERE b.user_id = a.user_id AND b.date BETWEEN a.date - 27 AND a.date) AS trimp28
	FROM activities a
	WHERE a.user_id IS NOT NULL AND isfinite(a.date) AND ($1::int[] IS NULL OR a.user_id = ANY($1)) AND ($2::date IS NULL OR a.date >= $2)
), ratios AS (
	SELECT *,
		CASE WHEN load28 = 0 THEN 0 ELSE (load7 / 7) / (load28 / 28) END AS external,
		CASE WHEN trimp28 = 0 THEN 0 ELSE (trimp7 / 7) / (trimp28 / 28) END AS internal
	FROM sums
), right_values AS (
	SELECT *,
		CASE WHEN external = 0 AND internal = 0 THEN 0 ELSE (external - internal) / ((external + internal) / 2) END AS divergence
	FROM ratios
)
SELECT coalesce(activity_id, 0), user_id, date::text,
	format('stored %s %s %s %s %s %s %s, right %s %s %s %s %s %s %s',
		seven_day_avg_load, twentyeight_day_avg_load, seven_day_avg_trimp, twentyeight_day_avg_trimp,
		acute_chronic_ratio, trimp_acute_chronic_ratio, normalized_divergence,
		(load7 / 7)::real, (load28 / 28)::real, (trimp7 / 7)::real, (trimp28 / 28)::real,
		external::real, internal::real, divergence::real),
	count(*) OVER ()
FROM right_values
WHERE (seven_day_avg_load, twentyeight_day_avg_load, seven_day_avg_trimp, twentyeight_day_avg_trimp,
       acute_chronic_ratio, trimp_acute_chronic_ratio, normalized_divergence)
	IS DISTINCT FROM
      ((load7 / 7)::real, (load28 / 28)::real, (trimp7 / 7)::real, (trimp28 / 28)::real,
       external::real, internal::real, divergence::real)
ORDER BY user_id, date, activity_id
LIMIT 20`

// Mismatch is a row whose stored results are not correct.
type Mismatch struct {
	ActivityID int64
	UserID     int32
	Date       string
	Values     string // stored and correct values, in the order of the columns
}

// String describes the mismatch on one line.
func (m Mismatch) String() string {
	return fmt.Sprintf("activity %d of user %d on %s: %s", m.ActivityID, m.UserID, m.Date, m.Values)
}

// Check compares all rows, or those of users if any are given. It returns the first
// twenty wrong rows and the number of all wrong rows. It checks the standard formula
// without rounding.
func Check(ctx context.Context, db dbpool.Querier, users ...int32) (wrong []Mismatch, total int, err error) {
	return CheckBy(ctx, db, WrongQuery, users, nil)
}

// CheckBy is Check with a query derived from WrongQuery, from the date first on. Without
// users it checks all.
func CheckBy(ctx context.Context, db dbpool.Querier, query string, users []int32, first *time.Time) (wrong []Mismatch, total int, err error) {
	rows, _ := db.Query(ctx, query, users, first)
	var m Mismatch
	_, err = pgx.ForEachRow(rows, []any{&m.ActivityID, &m.UserID, &m.Date, &m.Values, &total}, func() error {
		wrong = append(wrong, m)
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("oracle: %w", err)
	}
	return wrong, total, nil
}
