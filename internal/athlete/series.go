package athlete

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// Day is one calendar day of an athlete's series, with its current values.
type Day struct {
	Date       string `json:"date"` // YYYY-MM-DD
	Activities int    `json:"activities"`

	LoadMiles float64 `json:"total_load_miles"` // of the day
	Trimp     float64 `json:"trimp"`            // of the day

	SevenDayAvgLoad        float32 `json:"seven_day_avg_load"`
	TwentyEightDayAvgLoad  float32 `json:"twentyeight_day_avg_load"`
	SevenDayAvgTrimp       float32 `json:"seven_day_avg_trimp"`
	TwentyEightDayAvgTrimp float32 `json:"twentyeight_day_avg_trimp"`
	AcuteChronicRatio      float32 `json:"acute_chronic_ratio"`
	TrimpAcuteChronicRatio float32 `json:"trimp_acute_chronic_ratio"`
	NormalizedDivergence   float32 `json:"normalized_divergence"`

	// Stale says that a row of this day does not have these values, because its
	// recalculation is still to come or its results are not written.
	Stale bool `json:"stale"`

	// Quality has a word for each reason to doubt the values.
	Quality []string `json:"quality"`
}

// The words of Quality, as in acwr_series.
const (
	ShortHistory = "short_history"
	NoHeartRate  = "no_heart_rate"
	Implausible  = "implausible"
	LikelyDouble = "likely_double"
	Future       = "future"
)

// QualityWords explains the words of Quality, in the order in which a day has them.
var QualityWords = []struct{ Word, Meaning string }{
	{ShortHistory, "the window begins before the first activity: ratios come out too high"},
	{NoHeartRate, "an activity counts as a TRIMP of 0, because it has no heart rate"},
	{Implausible, "an activity has a value beyond what its sport allows"},
	{LikelyDouble, "an activity is likely the same training as an earlier one of the day"},
	{Future, "the day lies after today"},
}

// seriesQuery reads one row per calendar day, by default from the user's first activity
// to today in the user's time zone: the ratio of an athlete who stopped training falls,
// and an activity in the future does not extend the series. Today is computed once, not
// per activity. The day's sums are cast to numeric, which shows a real as it was
// entered. Activities are checked one by one only on days with a double, which counts as
// 0 if doubles are ignored.
const seriesQuery = `
-- name: read_series
WITH today AS MATERIALIZED (
	SELECT coalesce($3::date, acwr_today($1)) AS last
), bounds AS (
	SELECT coalesce($2::date, greatest(min(a.date), today.last - 150000)) AS first, today.last
	FROM activities AS a, today WHERE a.user_id = $1 AND isfinite(a.date) GROUP BY today.last
	HAVING coalesce($2::date, min(a.date)) <= today.last
)
SELECT s.date::text, count(a.date), coalesce(sum(a.total_load_miles::numeric) FILTER (WHERE weighs), 0)::float8, coalesce(sum(a.trimp::numeric) FILTER (WHERE weighs), 0)::float8,
       s.seven_day_avg_load, s.twentyeight_day_avg_load, s.seven_day_avg_trimp, s.twentyeight_day_avg_trimp,
       s.acute_chronic_ratio, s.trimp_acute_chronic_ratio, s.normalized_divergence,
       coalesce(bool_or((a.seven_day_avg_load, a.twentyeight_day_avg_load, a.seven_day_avg_trimp, a.twentyeight_day_avg_trimp,
                         a.acute_chronic_ratio, a.trimp_acute_chronic_ratio, a.normalized_divergence) IS DISTINCT FROM
                        (s.seven_day_avg_load, s.twentyeight_day_avg_load, s.seven_day_avg_trimp, s.twentyeight_day_avg_trimp,
                         s.acute_chronic_ratio, s.trimp_acute_chronic_ratio, s.normalized_divergence)) FILTER (WHERE a.date IS NOT NULL), false),
       s.quality
FROM bounds
CROSS JOIN LATERAL acwr_series($1, bounds.first, bounds.last, $4) AS s
LEFT JOIN activities AS a ON a.user_id = $1 AND a.date = s.date
CROSS JOIN LATERAL (SELECT CASE WHEN s.quality @> '{likely_double}' AND
	(SELECT settings.doubles FROM acwr_settings AS settings WHERE settings.user_id IN (0, $1) ORDER BY settings.user_id DESC LIMIT 1) = 'ignore-later'
	THEN NOT ` + DoubleOfEarlier + ` ELSE true END AS weighs OFFSET 0) AS w
GROUP BY s.date, s.seven_day_avg_load, s.twentyeight_day_avg_load, s.seven_day_avg_trimp, s.twentyeight_day_avg_trimp,
         s.acute_chronic_ratio, s.trimp_acute_chronic_ratio, s.normalized_divergence, s.quality
ORDER BY s.date`

// ReadDays returns the days of a user between from and to, both included; nil
// bounds are the user's first activity and today. rounding is "none" or "app",
// as in the workers' settings. Without activities there are no days.
func ReadDays(ctx context.Context, db dbpool.Querier, userID int32, from, to *time.Time, rounding string) ([]Day, error) {
	return dbpool.Collect(ctx, db, fmt.Sprintf("read the series of user %d", userID), pgx.RowToStructByPos[Day], seriesQuery, userID, from, to, rounding)
}

// Later counts the activities after today, which a series up to today does not contain.
type Later struct {
	Activities int
	Today      string // YYYY-MM-DD in the user's time zone, like First and Last
	First      string // "" for none
	Last       string
}

// laterQuery reads along the index of the series, from today, which it computes once.
const laterQuery = `
-- name: read_later
SELECT count(date), today::text, coalesce(min(date)::text, ''), coalesce(max(date)::text, '')
FROM (SELECT (SELECT acwr_today($1)) AS today) AS t LEFT JOIN activities ON user_id = $1 AND date > today AND date < 'infinity'
GROUP BY today`

// ReadLater counts a user's activities after today.
func ReadLater(ctx context.Context, db dbpool.Querier, userID int32) (Later, error) {
	return dbpool.CollectOne(ctx, db, fmt.Sprintf("read the activities of user %d after today", userID), pgx.RowToStructByPos[Later], laterQuery, userID)
}

// String describes the activities; empty for none.
func (l Later) String() string {
	switch l.Activities {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("1 activity is dated after today (%s): %s", l.Today, l.First)
	default:
		return fmt.Sprintf("%d activities are dated after today (%s): %s to %s", l.Activities, l.Today, l.First, l.Last)
	}
}
