package main

// setBasedUpdate is the best single statement: every value of every row by
// window functions over the days, written at once.
var setBasedUpdate = updateResults("true", "true")

// updateAround is the same for one user, limited to the days affected by an activity of
// a date.
var updateAround = updateResults("user_id = $1 AND date BETWEEN $2::date - 27 AND $2::date + 27", "a.user_id = $1 AND a.date >= $2::date")

// updateResults returns the statement that reads and updates the rows meeting two
// conditions.
func updateResults(read, updated string) string {
	return `
WITH days AS (
	SELECT user_id, date, sum(total_load_miles::float8) AS load, sum(trimp::float8) AS trimp
	FROM activities WHERE ` + read + ` GROUP BY user_id, date
), sums AS (
	SELECT user_id, date,
	       sum(load) OVER week / 7 AS load7, sum(load) OVER month / 28 AS load28,
	       sum(trimp) OVER week / 7 AS trimp7, sum(trimp) OVER month / 28 AS trimp28
	FROM days
	WINDOW week AS (PARTITION BY user_id ORDER BY date RANGE BETWEEN interval '6 days' PRECEDING AND CURRENT ROW),
	       month AS (PARTITION BY user_id ORDER BY date RANGE BETWEEN interval '27 days' PRECEDING AND CURRENT ROW)
), ratios AS (
	SELECT *, CASE WHEN load28 = 0 THEN 0 ELSE load7 / load28 END AS external, CASE WHEN trimp28 = 0 THEN 0 ELSE trimp7 / trimp28 END AS internal
	FROM sums
)
UPDATE activities AS a
SET seven_day_avg_load = load7, twentyeight_day_avg_load = load28, seven_day_avg_trimp = trimp7, twentyeight_day_avg_trimp = trimp28,
    acute_chronic_ratio = external, trimp_acute_chronic_ratio = internal,
    normalized_divergence = CASE WHEN external = 0 AND internal = 0 THEN 0 ELSE (external - internal) / ((external + internal) / 2) END
FROM ratios AS r
WHERE a.user_id = r.user_id AND a.date = r.date AND ` + updated
}
