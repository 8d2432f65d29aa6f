package workers

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
)

// comparedColumns are the columns of trainingload.Recording, in its order.
var comparedColumns = []string{"sport_type", "type", "start_time", "distance_miles", "duration_minutes"}

// comparedQuery builds a statement that reads the recordings of stored activities, by id,
// and of given ones, whose values are cast as they would be when stored.
func comparedQuery(types map[string]string) string {
	var stored, given []string
	for i, name := range comparedColumns {
		array, as := syncedColumnNamed(name).array, ""
		if array == "float8[]" {
			as = "::float8"
		}
		stored = append(stored, name+as)
		given = append(given, fmt.Sprintf("unnest($%d::%s)::%s%s", i+3, array, types[name], as))
	}
	return `
-- name: read_compared
SELECT activity_id, false, ` + strings.Join(stored, ", ") + ` FROM activities WHERE activity_id = ANY($1::bigint[])
UNION ALL
SELECT unnest($2::bigint[]), true, ` + strings.Join(given, ", ")
}

func syncedColumnNamed(name string) syncedColumn {
	for _, c := range syncedColumns {
		if c.name == name {
			return c
		}
	}
	panic("workers: no synced column " + name)
}

// recordingRow is a recording as columns, each NULL when unknown.
type recordingRow struct {
	sport, typ, start pgtype.Text
	miles, minutes    pgtype.Float8
}

func (r *recordingRow) targets() []any {
	return []any{&r.sport, &r.typ, &r.start, &r.miles, &r.minutes}
}

// over returns r with its missing values taken from below.
func (r recordingRow) over(below recordingRow) recordingRow {
	r.sport, r.typ, r.start = cmp.Or(r.sport, below.sport), cmp.Or(r.typ, below.typ), cmp.Or(r.start, below.start)
	r.miles, r.minutes = cmp.Or(r.miles, below.miles), cmp.Or(r.minutes, below.minutes)
	return r
}

func (r recordingRow) recording() trainingload.Recording {
	known := func(x pgtype.Float8) float64 {
		if !x.Valid {
			return math.NaN()
		}
		return x.Float64
	}
	return trainingload.Recording{Sport: r.sport.String, Type: r.typ.String, Start: r.start.String, Miles: known(r.miles), Minutes: known(r.minutes)}
}

// comparedRecordings are the recordings of athletes who ignore likely doubles, on days
// with more than one activity.
type comparedRecordings struct {
	settings settingsByUser
	complete func(userID int32) bool // all of a user's windows were read
	stored   map[int64]recordingRow
	next     map[int64]recordingRow // of activities that the plan writes
}

// readCompared reads the recordings, which the windows do not contain. It returns nil,
// without reading, if no athlete of the batch ignores doubles.
func (in *ingester) readCompared(ctx context.Context, tx pgx.Tx, plan *ingestPlan, stored storedState) (*comparedRecordings, error) {
	ignores := false
	for _, s := range stored.settings {
		ignores = ignores || s.ignoresLater
	}
	if !ignores {
		return nil, nil //nolint:nilnil // nothing to compare is no error
	}
	c := &comparedRecordings{settings: stored.settings, complete: stored.complete, stored: map[int64]recordingRow{}, next: map[int64]recordingRow{}}
	ids, planned := c.toRead(plan, stored)
	if len(ids) == 0 {
		return c, nil
	}
	given := make([]int64, len(planned))
	for i, a := range planned {
		given[i] = a.ActivityID
	}
	args := []any{ids, given}
	for _, name := range comparedColumns {
		values, err := syncedColumnNamed(name).of(planned)
		if err != nil {
			return nil, err
		}
		args = append(args, values)
	}
	rows, _ := tx.Query(ctx, in.statements.compared, args...)
	var id int64
	var isGiven bool
	var row recordingRow
	_, err := pgx.ForEachRow(rows, append([]any{&id, &isGiven}, row.targets()...), func() error {
		if isGiven {
			c.next[id] = row
		} else {
			c.stored[id] = row
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what doubles are compared by: %w", err)
	}
	for id, row := range c.next {
		if plan.current[id].keeps {
			c.next[id] = row.over(c.stored[id])
		}
	}
	return c, nil
}

// toRead returns the ids of all activities, stored or planned, on days with more
// than one, and those of them that are planned.
func (c *comparedRecordings) toRead(plan *ingestPlan, stored storedState) (ids []int64, planned []*jobs.Activity) {
	days := map[userDay]map[int64]bool{}
	add := func(userID, date int32, id int64) {
		day := userDay{userID, date}
		if days[day] == nil {
			days[day] = map[int64]bool{}
		}
		days[day][id] = true
	}
	for _, row := range stored.windows {
		if row.activityID.Valid && c.settings.of(row.userID).ignoresLater {
			add(row.userID, toDays(row.date), row.activityID.Int64)
		}
	}
	for _, id := range plan.activityIDs() {
		if state := plan.current[id]; state.exists && state.next != nil && c.settings.of(state.userID).ignoresLater {
			add(state.userID, daysSinceEpoch(state.next.Date), id)
		}
	}
	read := map[int64]bool{}
	for _, all := range days {
		if len(all) > 1 {
			for id := range all {
				read[id] = true
			}
		}
	}
	for _, id := range plan.activityIDs() {
		if state := plan.current[id]; read[id] && state.exists && state.next != nil {
			planned = append(planned, state.next)
		}
	}
	return slices.Collect(maps.Keys(read)), planned
}

// changes reports whether the compared columns of an activity change, or may change.
func (c *comparedRecordings) changes(userID int32, activityID int64) bool {
	if c == nil || !c.settings.of(userID).ignoresLater {
		return false
	}
	if activityID == 0 || !c.complete(userID) {
		return true
	}
	next, isCompared := c.next[activityID]
	return isCompared && next != c.stored[activityID]
}

// ignoreLater sets to 0 the loads of each activity that resembles one of the same day
// with a smaller id. The rows are in the order of ids; those without one resemble nothing.
func (c *comparedRecordings) ignoreLater(day []dayRow) {
	if c == nil || len(day) < 2 {
		return
	}
	recordings := make([]trainingload.Recording, len(day))
	for i, row := range day {
		switch {
		case row.stored == nil:
			recordings[i] = c.next[row.id.Int64].recording()
		case row.id.Valid:
			recordings[i] = c.stored[row.id.Int64].recording()
		}
		for _, earlier := range recordings[:i] {
			if trainingload.Resembles(earlier, recordings[i]) {
				day[i].counts = acwr.Activity{}
				break
			}
		}
	}
}
