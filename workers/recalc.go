package workers

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/internal/athlete"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/lane"
	"github.com/trainingmonkey/worker/jobs"
)

// recalculator recalculates the ACWR columns.
type recalculator struct {
	rounding       acwr.Rounding
	write          string // acwr.write
	rolloutPercent int    // share of the users for whom it writes results
	logger         *slog.Logger
}

type recalcJob = lane.Job[recalcArgs]

// kind describes recalc jobs to their lane.
func (rc *recalculator) kind() lane.Kind[recalcArgs] {
	return lane.Kind[recalcArgs]{
		Name:    jobs.KindACWRRecalc,
		Decode:  decodeRecalc,
		Weigh:   func(args *recalcArgs) int { return len(args.ranges) },
		ShareBy: []string{"ranges", "0", "user_id"},
		Lock:    func(b *pgx.Batch, batch []*recalcJob) { queueUserLocks(b, newChanges(rangesByUser(batch)).users, nil) },
		Apply:   rc.apply,
		Probe:   func(b *pgx.Batch) { rc.probe(b) },
	}
}

func rangesByUser(batch []*recalcJob) map[int32][]dayRange {
	byUser := map[int32][]dayRange{}
	for _, job := range batch {
		for _, r := range job.Args.ranges {
			byUser[r.userID] = append(byUser[r.userID], r.dayRange)
		}
	}
	return byUser
}

// apply merges the ranges of the batch and recalculates them.
func (rc *recalculator) apply(ctx context.Context, tx pgx.Tx, first *pgx.Batch, batch []*recalcJob) (lane.Writes, error) {
	wrong, err := rc.recalculate(ctx, tx, first, newChanges(rangesByUser(batch)))
	return lane.Writes{Batch: wrong.batch()}, err
}

// probe queues the statements of a recalculation without rows.
func (rc *recalculator) probe(b *pgx.Batch) {
	queueUserLocks(b, nil, nil)
	b.Queue(settingsQuery, nil)
	b.Queue(windowsQuery, nil, nil, nil, nil, 0)
	b.Queue(weighedWindowsQuery, nil, nil, nil, nil, 0)
	resultRows{}.queue(b)
}

// writesFor reports whether a user's results may be written.
func (rc *recalculator) writesFor(userID int32) bool {
	return rc.write == writeOn && config.InRollout(int64(userID), rc.rolloutPercent)
}

// recalculate reads, in one round trip with first, every window that the changed dates
// count into. It returns the rows whose results are outdated and may be written, and
// logs the number of those that may not. The users must be locked already, or by first.
func (rc *recalculator) recalculate(ctx context.Context, tx pgx.Tx, first *pgx.Batch, changed changes) (resultRows, error) {
	var settings settingsByUser
	var wrong resultRows
	first.Queue(settingsQuery, changed.users).Query(func(rows pgx.Rows) (err error) {
		settings, err = readSettings(rows)
		return err
	})
	first.Queue(weighedWindowsQuery, changed.userIDs, changed.firsts, changed.lasts, nil, nil).Query(func(rows pgx.Rows) (err error) {
		wrong, err = rc.compute(rows, settings)
		return err
	})
	if err := tx.SendBatch(ctx, first).Close(); err != nil {
		return nil, fmt.Errorf("lock users and read their windows: %w", err)
	}
	writable := slices.DeleteFunc(wrong, func(row resultRow) bool { return !rc.writesFor(row.userID) })
	if compared := len(wrong) - len(writable); compared > 0 {
		rc.logger.InfoContext(ctx, "results differ, but are not written because of acwr.write or acwr.rollout_percent; see enqueue acwr --compare", slog.Int("rows", compared), slog.Int("users", len(changed.users)))
	}
	return writable, nil
}

// windowsQuery reads the activities of each window in the order in which they are summed,
// up to a number of rows. To the given dates it adds the stored dates of the given
// activities, if they belong to the same users. A window consists of the dates whose
// results a change affects under the user's formula, and of the earlier days that count
// into them; under EWMA it is the whole history, from the least date that is finite.
// Overlapping windows are merged, so that no row is read twice. The column wanted says
// whether a row's own results are wanted, or whether it only counts into others. Rows are
// ordered by window, by columns that are sorted already.
const windowsQuery = `
-- name: read_windows` + windowsWith + `
SELECT ` + windowsColumns + windowsFrom

// weighedWindowsQuery also returns whether a row counts as 0, because its athlete ignores
// it as a likely double. For other athletes it reads no more than windowsQuery. Ingest uses
// windowsQuery, because doubles there also depend on the rows that it is about to write.
const weighedWindowsQuery = `
-- name: read_weighed_windows` + windowsWith + `
SELECT ` + windowsColumns + `, w.ignores_later AND ` + athlete.DoubleOfEarlier + windowsFrom

const windowsWith = `
WITH windows AS (
	SELECT user_id, ignores_later, chronic_days - 1 AS lead,
	       unnest(range_agg(CASE formula WHEN 'ewma' THEN daterange('4714-11-24 BC', 'infinity')
	                        ELSE daterange(changed.first - (chronic_days - 1), changed.last + chronic_days) END)) AS dates
	FROM (
		SELECT c.user_id, c.first, c.last, coalesce(own.formula, common.formula) AS formula, coalesce(own.chronic_days, common.chronic_days) AS chronic_days,
		       coalesce(own.doubles, common.doubles) = 'ignore-later' AS ignores_later
		FROM (
			SELECT user_id, first, last FROM unnest($1::int[], $2::date[], $3::date[]) AS given (user_id, first, last)
			UNION ALL
			SELECT user_id, date, date FROM activities WHERE activity_id = ANY($4::bigint[]) AND user_id = ANY($1) AND isfinite(date)
		) AS c
		JOIN acwr_settings AS common ON common.user_id = 0
		LEFT JOIN acwr_settings AS own ON own.user_id = c.user_id
	) AS changed
	GROUP BY user_id, ignores_later, chronic_days
), numbered AS (
	SELECT row_number() OVER (ORDER BY user_id, dates) AS number, user_id, ignores_later, dates, lower(dates) + lead AS wanted_from, lower(dates) AS first, upper(dates) AS after
	FROM windows
)`

const windowsColumns = `w.number, a.user_id, a.date, a.activity_id, a.date >= w.wanted_from AS wanted,
       coalesce(a.total_load_miles, 0), coalesce(a.trimp, 0),
       a.seven_day_avg_load, a.twentyeight_day_avg_load, a.seven_day_avg_trimp, a.twentyeight_day_avg_trimp,
       a.acute_chronic_ratio, a.trimp_acute_chronic_ratio, a.normalized_divergence`

const windowsFrom = `
FROM numbered AS w
JOIN activities AS a ON a.user_id = w.user_id AND a.date >= w.first AND a.date < w.after
ORDER BY w.user_id, w.dates, a.date, a.activity_id
LIMIT $5`

// changes are the dates of a batch whose activities changed, as arrays for unnest.
type changes struct {
	users   []int32 // distinct, ascending
	userIDs []int32 // of each range, ascending
	firsts  []time.Time
	lasts   []time.Time
}

func newChanges(changedDates map[int32][]dayRange) changes {
	var c changes
	for _, userID := range sortedKeys(changedDates) {
		c.users = append(c.users, userID)
		for _, changed := range mergeRanges(changedDates[userID], nearby) {
			c.userIDs = append(c.userIDs, userID)
			c.firsts = append(c.firsts, toDate(changed.from))
			c.lasts = append(c.lasts, toDate(changed.to))
		}
	}
	return c
}

// activityResults is one row of windowsQuery.
type activityResults struct {
	window     int64
	userID     int32
	date       time.Time
	activityID pgtype.Int8 // NULL in rows that the application stored without one
	wanted     bool
	counts     acwr.Activity
	stored     storedResults
}

func (row *activityResults) targets() []any {
	return append([]any{
		&row.window, &row.userID, &row.date, &row.activityID, &row.wanted, &row.counts.Load, &row.counts.Trimp,
	}, row.stored.targets()...)
}

// compute computes the results day by day and returns the rows whose stored results
// are outdated.
func (rc *recalculator) compute(rows pgx.Rows, settings settingsByUser) (resultRows, error) {
	var wrong resultRows
	var window int64
	calculators := map[acwr.Settings]*acwr.Calculator{}
	var calculator *acwr.Calculator
	var day []activityResults // the rows of one day of one window
	var activities []acwr.Activity

	finishDay := func() {
		if len(day) == 0 {
			return
		}
		if day[0].window != window {
			s := settings.of(day[0].userID).Settings
			if calculator = calculators[s]; calculator == nil {
				calculator = acwr.NewCalculator(s, rc.rounding)
				calculators[s] = calculator
			}
			calculator.Reset()
			window = day[0].window
		}
		activities = activities[:0]
		for i := range day {
			activities = append(activities, day[i].counts)
		}
		values := calculator.Next(int(toDays(day[0].date)), activities...)
		for i := range day {
			if day[i].wanted && !day[i].stored.equal(values) {
				wrong.add(&day[i], values)
			}
		}
		day = day[:0]
	}

	var row activityResults
	var weighsNothing bool
	_, err := pgx.ForEachRow(rows, append(row.targets(), &weighsNothing), func() error {
		if weighsNothing {
			row.counts = acwr.Activity{}
		}
		if len(day) > 0 && (day[0].window != row.window || !day[0].date.Equal(row.date)) {
			finishDay()
		}
		day = append(day, row)
		return nil
	})
	finishDay()
	return wrong, err
}
