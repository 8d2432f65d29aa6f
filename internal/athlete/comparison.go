package athlete

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/trainingmonkey/worker/internal/acwr"
)

// CompareOptions say what to compare the stored values with.
type CompareOptions struct {
	UserID   int32          // 0: all users
	Settings *acwr.Settings // nil: each user's own
	Rounding acwr.Rounding
	Doubles  string // count or ignore-later, "": each user's own
}

// maxExamples is how many differing values a Comparison shows.
const maxExamples = 10

// Comparison sums up a comparison.
type Comparison struct {
	Rows      int64            `json:"rows"`      // compared
	Differing int64            `json:"differing"` // with at least one differing value
	Missing   int64            `json:"missing"`   // of those: with a value that was never computed
	Columns   []ComparedColumn `json:"columns"`   // of the seven
	Examples  []Difference     `json:"examples"`  // the first few
}

// ComparedColumn is how the values of one result column differ.
type ComparedColumn struct {
	Name    string   `json:"name"`
	Rows    int64    `json:"rows"`    // whose value differs
	Missing int64    `json:"missing"` // of those: never computed
	Largest *float64 `json:"largest"` // absolute difference; nil if no value differs or all that differ were never computed
}

// Difference is one value that differs.
type Difference struct {
	ActivityID *int64   `json:"activity_id"` // null: the row has none
	UserID     int32    `json:"user_id"`
	Date       string   `json:"date"`
	Column     string   `json:"column"`
	Stored     *float32 `json:"stored"` // null: never computed
	WouldBe    float32  `json:"would_be"`
}

// rowsQuery reads every row in the order in which values are computed, with its user's
// settings. Rows are streamed, user by user. Rows without a user or a date have no values.
const rowsQuery = `
-- name: compare_rows
SELECT a.user_id, a.date, a.activity_id, coalesce(a.total_load_miles, 0), coalesce(a.trimp, 0),
       a.seven_day_avg_load, a.twentyeight_day_avg_load, a.seven_day_avg_trimp, a.twentyeight_day_avg_trimp,
       a.acute_chronic_ratio, a.trimp_acute_chronic_ratio, a.normalized_divergence,
       coalesce(own.formula, common.formula), coalesce(own.chronic_days, common.chronic_days), coalesce(own.decay_rate, common.decay_rate),
       coalesce(nullif($2, ''), own.doubles, common.doubles) = 'ignore-later' AND ` + DoubleOfEarlier + `
FROM activities AS a
JOIN acwr_settings AS common ON common.user_id = 0
LEFT JOIN acwr_settings AS own ON own.user_id = a.user_id
WHERE ($1 = 0 OR a.user_id = $1) AND a.user_id IS NOT NULL AND isfinite(a.date)
ORDER BY a.user_id, a.date, a.activity_id`

type row struct {
	userID     int32
	date       time.Time
	activityID pgtype.Int8
	counts     acwr.Activity
	stored     [7]pgtype.Float4
	settings   acwr.Settings
}

// Compare reads the activities in one snapshot, in bounded memory. It writes nothing.
func Compare(ctx context.Context, tx pgx.Tx, o CompareOptions) (*Comparison, error) {
	report := &Comparison{Columns: make([]ComparedColumn, len(acwr.Columns)), Examples: []Difference{}}
	for i, name := range acwr.Columns {
		report.Columns[i].Name = name
	}
	rows, err := tx.Query(ctx, rowsQuery, o.UserID, o.Doubles)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	var day []row // the rows of one day of one user
	var activities []acwr.Activity
	var calculator *acwr.Calculator
	var athlete int32
	finishDay := func() {
		if len(day) == 0 {
			return
		}
		if calculator == nil || day[0].userID != athlete {
			settings := day[0].settings
			if o.Settings != nil {
				settings = *o.Settings
			}
			calculator, athlete = acwr.NewCalculator(settings, o.Rounding), day[0].userID
		}
		activities = activities[:0]
		for i := range day {
			activities = append(activities, day[i].counts)
		}
		values := calculator.Next(int(day[0].date.Unix()/secondsPerDay), activities...)
		for i := range day {
			report.add(&day[i], values)
		}
		day = day[:0]
	}
	var r row
	targets := []any{&r.userID, &r.date, &r.activityID, &r.counts.Load, &r.counts.Trimp}
	for i := range r.stored {
		targets = append(targets, &r.stored[i])
	}
	var weighsNothing bool
	targets = append(targets, &r.settings.Formula, &r.settings.ChronicDays, &r.settings.DecayRate, &weighsNothing)
	_, err = pgx.ForEachRow(rows, targets, func() error {
		if weighsNothing {
			r.counts = acwr.Activity{}
		}
		if len(day) > 0 && (day[0].userID != r.userID || !day[0].date.Equal(r.date)) {
			finishDay()
		}
		day = append(day, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	finishDay()
	return report, nil
}

const secondsPerDay = 24 * 60 * 60

func (report *Comparison) add(r *row, v acwr.Values) {
	report.Rows++
	differs, missing := false, false
	for i, want := range v.Array() {
		stored := r.stored[i]
		if stored.Valid && acwr.Same(stored.Float32, want) {
			continue
		}
		differs = true
		missing = missing || !stored.Valid
		column := &report.Columns[i]
		column.Rows++
		example := Difference{UserID: r.userID, Date: r.date.Format(time.DateOnly), Column: column.Name, WouldBe: want}
		if r.activityID.Valid {
			example.ActivityID = new(r.activityID.Int64)
		}
		if stored.Valid {
			difference := math.Abs(float64(stored.Float32) - float64(want))
			if column.Largest == nil || difference > *column.Largest {
				column.Largest = &difference
			}
			example.Stored = &stored.Float32
		} else {
			column.Missing++
		}
		if len(report.Examples) < maxExamples {
			report.Examples = append(report.Examples, example)
		}
	}
	if differs {
		report.Differing++
	}
	if missing {
		report.Missing++
	}
}
