package workers

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/internal/groupcommit"
	"github.com/trainingmonkey/worker/internal/rollout"
)

// recalcWorker makes the ACWR columns right for the ranges of acwr_recalc jobs,
// many jobs in one transaction.
type recalcWorker struct {
	river.WorkerDefaults[recalcArgs]
	lanes lanes[recalcArgs]
}

// Work implements river.Worker.
func (w *recalcWorker) Work(ctx context.Context, job *river.Job[recalcArgs]) error {
	if job.Args.fault != nil {
		return river.JobCancel(job.Args.fault)
	}
	return w.lanes.work(ctx, job)
}

// Timeout implements river.Worker.
func (w *recalcWorker) Timeout(*river.Job[recalcArgs]) time.Duration { return noTimeout }

// Middleware implements river.Worker.
func (w *recalcWorker) Middleware(job *rivertype.JobRow) []rivertype.WorkerMiddleware {
	return []rivertype.WorkerMiddleware{w.lanes.of(job.Queue).Middleware()}
}

const (
	// longestPatience is how much later a result is, at most, for being computed
	// once with those of the activities that arrive next.
	longestPatience = 500 * time.Millisecond
	// backlogMemory bridges the moment in which the next jobs are fetched.
	backlogMemory = 250 * time.Millisecond
)

// patience has recalculations wait while activities wait in a queue: they are
// of the same athletes, so that the same windows would be read again right
// after. Where nothing waits, nobody is kept waiting.
func patience(ingest *groupcommit.Engine[ingestArgs]) func() time.Duration {
	return func() time.Duration {
		if ingest.Backlog(backlogMemory) {
			return longestPatience
		}
		return 0
	}
}

// recalculator applies batches of recalc jobs.
type recalculator struct {
	rounding       acwr.Rounding
	writes         bool // or compares only
	rolloutPercent int  // share of the users for whom it writes
	logger         *slog.Logger
}

// apply merges the ranges of the batch and makes them right.
func (rc *recalculator) apply(ctx context.Context, tx pgx.Tx, batch []*river.Job[recalcArgs]) error {
	byUser := map[int32][]dayRange{}
	for _, job := range batch {
		for _, r := range job.Args.ranges {
			byUser[r.userID] = append(byUser[r.userID], r.dayRange)
		}
	}
	_, err := rc.recalculate(ctx, tx, byUser)
	return err
}

// recalculate locks the users, reads every window that the changed dates count
// into once, and writes the rows that are not right, whose number it returns:
// in two round trips, whatever the number of users. Of users outside the rollout
// it says how many rows would have been written.
func (rc *recalculator) recalculate(ctx context.Context, tx pgx.Tx, changedDates map[int32][]dayRange) (written int, err error) {
	changed := changesOf(changedDates)
	var settings settingsByUser
	var wrong resultRows
	statements := &pgx.Batch{}
	queueUserLocks(statements, changed.users)
	statements.Queue(settingsQuery, changed.users).Query(func(rows pgx.Rows) (err error) {
		settings, err = readSettings(rows)
		return err
	})
	statements.Queue(windowsQuery, changed.userIDs, changed.firsts, changed.lasts).Query(func(rows pgx.Rows) (err error) {
		wrong, err = rc.compute(rows, settings)
		return err
	})
	if err := tx.SendBatch(ctx, statements).Close(); err != nil {
		return 0, fmt.Errorf("lock users and read their windows: %w", err)
	}
	writable := wrong[:0]
	for _, row := range wrong {
		if rc.writes && rollout.Includes(int64(row.userID), rc.rolloutPercent) {
			writable = append(writable, row)
		}
	}
	if compared := len(wrong) - len(writable); compared > 0 {
		rc.logger.InfoContext(ctx, "results differ and are not to be written, see enqueue acwr --compare", slog.Int("rows", compared), slog.Int("users", len(changed.users)))
	}
	return len(writable), writable.write(ctx, tx)
}

// windowsQuery reads the activities of each window in the order in which they
// are summed. A window is dates whose results are wanted, which is how far the
// user's formula lets a change reach, and the days before them that count into
// them; under EWMA that is everything. Overlapping ones are merged, so that no
// row is read twice. The column wanted tells whether a row's results are or it
// only counts into those of others.
const windowsQuery = `
-- name: read_windows
WITH windows AS (
	SELECT user_id, chronic_days - 1 AS lead,
	       unnest(range_agg(CASE formula WHEN 'ewma' THEN daterange('-infinity', 'infinity')
	                        ELSE daterange(changed.first - (chronic_days - 1), changed.last + chronic_days) END)) AS dates
	FROM (
		SELECT c.user_id, c.first, c.last, coalesce(own.formula, common.formula) AS formula, coalesce(own.chronic_days, common.chronic_days) AS chronic_days
		FROM unnest($1::int[], $2::date[], $3::date[]) AS c (user_id, first, last)
		JOIN acwr_settings AS common ON common.user_id = 0
		LEFT JOIN acwr_settings AS own ON own.user_id = c.user_id
	) AS changed
	GROUP BY user_id, chronic_days
), numbered AS (
	SELECT row_number() OVER (ORDER BY user_id, dates) AS number, user_id, lower(dates) + lead AS wanted_from, lower(dates) AS first, upper(dates) AS after
	FROM windows
)
SELECT w.number, a.user_id, a.date, a.activity_id, a.date >= w.wanted_from AS wanted,
       coalesce(a.total_load_miles, 0), coalesce(a.trimp, 0),
       a.seven_day_avg_load, a.twentyeight_day_avg_load, a.seven_day_avg_trimp, a.twentyeight_day_avg_trimp,
       a.acute_chronic_ratio, a.trimp_acute_chronic_ratio, a.normalized_divergence
FROM numbered AS w
JOIN activities AS a ON a.user_id = w.user_id AND a.date >= w.first AND a.date < w.after
ORDER BY w.number, a.date, a.activity_id`

// changes are the dates of a batch whose activities changed, in the form that
// unnest takes.
type changes struct {
	users   []int32 // distinct, ascending
	userIDs []int32 // of each range, ascending
	firsts  []time.Time
	lasts   []time.Time
}

func changesOf(changedDates map[int32][]dayRange) changes {
	var c changes
	for _, userID := range sortedKeys(changedDates) {
		c.users = append(c.users, userID)
		for _, changed := range mergeRanges(changedDates[userID], nearby) {
			c.userIDs = append(c.userIDs, userID)
			c.firsts = append(c.firsts, dateOf(changed.from))
			c.lasts = append(c.lasts, dateOf(changed.to))
		}
	}
	return c
}

// activityResults is one row of windowsQuery.
type activityResults struct {
	window      int64
	userID      int32
	date        time.Time
	activityID  int64
	wanted      bool
	load, trimp float32
	stored      storedResults
}

// compute goes through the rows day by day and returns those whose stored
// results differ from the right ones.
func (rc *recalculator) compute(rows pgx.Rows, settings settingsByUser) (resultRows, error) {
	var wrong resultRows
	var window int64
	calculators := map[acwr.Settings]*acwr.Calculator{}
	var calculator *acwr.Calculator
	var day []activityResults // the rows of one day of one window

	finishDay := func() {
		if len(day) == 0 {
			return
		}
		if day[0].window != window {
			s := settings.of(day[0].userID)
			if calculator = calculators[s]; calculator == nil {
				calculator = acwr.NewCalculator(s, rc.rounding)
				calculators[s] = calculator
			}
			calculator.Reset()
			window = day[0].window
		}
		var load, trimp float64
		for i := range day {
			load += float64(day[i].load)
			trimp += float64(day[i].trimp)
		}
		values := calculator.Next(int(daysOf(day[0].date)), load, trimp)
		for i := range day {
			if day[i].wanted && !day[i].stored.equal(values) {
				wrong.add(&day[i], values)
			}
		}
		day = day[:0]
	}

	var row activityResults
	targets := append([]any{
		&row.window, &row.userID, &row.date, &row.activityID, &row.wanted, &row.load, &row.trimp,
	}, row.stored.targets()...)
	_, err := pgx.ForEachRow(rows, targets, func() error {
		if len(day) > 0 && (day[0].window != row.window || !day[0].date.Equal(row.date)) {
			finishDay()
		}
		day = append(day, row)
		return nil
	})
	finishDay()
	return wrong, err
}
