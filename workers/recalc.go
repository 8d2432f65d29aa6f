package workers

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/internal/acwr"
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

// recalculator applies batches of recalc jobs.
type recalculator struct {
	rounding acwr.Rounding
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
// in two round trips, whatever the number of users.
func (rc *recalculator) recalculate(ctx context.Context, tx pgx.Tx, changedDates map[int32][]dayRange) (written int, err error) {
	windows := windowsOf(changedDates)
	var wrong resultRows
	statements := &pgx.Batch{}
	queueUserLocks(statements, windows.users)
	statements.Queue(windowsQuery, windows.userIDs, windows.firsts, windows.lasts).Query(func(rows pgx.Rows) error {
		var err error
		wrong, err = rc.compute(rows)
		return err
	})
	if err := tx.SendBatch(ctx, statements).Close(); err != nil {
		return 0, fmt.Errorf("lock users and read their windows: %w", err)
	}
	return len(wrong), wrong.write(ctx, tx)
}

// windowsQuery reads the activities of each window in the order in which they
// are summed. Windows of one user are disjoint. The last column tells whether
// the row's results are wanted or the row only counts into those of others.
const windowsQuery = `
SELECT w.number, a.user_id, a.date, a.activity_id, a.date >= w.first + 27,
       coalesce(a.total_load_miles, 0), coalesce(a.trimp, 0),
       a.seven_day_avg_load, a.twentyeight_day_avg_load, a.seven_day_avg_trimp, a.twentyeight_day_avg_trimp,
       a.acute_chronic_ratio, a.trimp_acute_chronic_ratio, a.normalized_divergence
FROM unnest($1::int[], $2::date[], $3::date[]) WITH ORDINALITY AS w (user_id, first, last, number)
JOIN activities AS a ON a.user_id = w.user_id AND a.date BETWEEN w.first AND w.last
ORDER BY w.number, a.date, a.activity_id`

// windows are what a batch has to read, in the form that unnest takes: each is
// a range of dates whose results are wanted, with the days before it that count
// into them.
type windows struct {
	users   []int32 // distinct, ascending
	userIDs []int32 // of each window, ascending
	firsts  []time.Time
	lasts   []time.Time
}

func windowsOf(changedDates map[int32][]dayRange) windows {
	reach := int32(acwr.DefaultSettings().ChronicDays - 1)
	var w windows
	for _, userID := range sortedKeys(changedDates) {
		w.users = append(w.users, userID)
		for _, changed := range mergeRanges(changedDates[userID], 2*reach+1) {
			w.userIDs = append(w.userIDs, userID)
			w.firsts = append(w.firsts, dateOf(changed.from-reach))
			w.lasts = append(w.lasts, dateOf(changed.to+reach))
		}
	}
	return w
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
func (rc *recalculator) compute(rows pgx.Rows) (resultRows, error) {
	var wrong resultRows
	var window int64
	calculator := acwr.NewCalculator(acwr.DefaultSettings(), rc.rounding)
	var day []activityResults // the rows of one day of one window

	finishDay := func() {
		if len(day) == 0 {
			return
		}
		if day[0].window != window {
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
