package workers

import (
	"cmp"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/jobs"
)

// planResults are the results that follow from a plan.
type planResults struct {
	own       map[int64]acwr.Values // of activities that the plan writes, by id
	following resultRows            // of other rows whose results are outdated
	left      map[int32][]int32     // changed dates whose results a separate job computes
}

// results computes the results that the plan changes. It modifies nothing but its
// arguments.
func (in *ingester) results(plan *ingestPlan, stored storedState, compared *comparedRecordings) planResults {
	r := planResults{own: map[int64]acwr.Values{}, left: map[int32][]int32{}}
	changed := plan.changedDates(compared.changes)
	planned := map[int32][]*jobs.Activity{}
	for _, id := range plan.activityIDs() {
		if state := plan.current[id]; state.exists && state.next != nil {
			planned[state.userID] = append(planned[state.userID], state.next)
		}
	}
	gone := map[int64]bool{} // rows of the windows that are removed or replaced
	for _, id := range plan.removals() {
		gone[id] = true
	}
	byUser := rowsByUser(stored)
	for _, userID := range sortedKeys(changed) {
		rows, complete := byUser[userID], stored.complete(userID)
		if !in.recalculator.writesFor(userID) || !complete {
			r.left[userID] = changed[userID]
			continue
		}
		settings := stored.settings.of(userID)
		var doubles *comparedRecordings
		if settings.ignoresLater {
			doubles = compared
		}
		in.addUser(&r, rows, planned[userID], gone, doubles, affectedDates(settings.Settings, changed[userID]), acwr.NewCalculator(settings.Settings, in.recalculator.rounding))
	}
	return r
}

// complete reports whether all of a user's windows were read.
func (s storedState) complete(userID int32) bool {
	return !s.cutOff || userID < s.windows[len(s.windows)-1].userID
}

// rowsByUser splits the rows of windows, which are ordered by user.
func rowsByUser(s storedState) map[int32][]activityResults {
	byUser := map[int32][]activityResults{}
	for start := 0; start < len(s.windows); {
		end := start + 1
		for end < len(s.windows) && s.windows[end].userID == s.windows[start].userID {
			end++
		}
		byUser[s.windows[start].userID] = s.windows[start:end]
		start = end
	}
	return byUser
}

// affectedDates returns the dates whose results depend on the given dates, ascending
// and disjoint.
func affectedDates(settings acwr.Settings, dates []int32) []dayRange {
	var ranges []dayRange
	for _, d := range dates {
		to := min(int64(d)+int64(settings.Reach())-1, acwr.Unbounded)
		ranges = append(ranges, dayRange{d, int32(to)})
	}
	return mergeRanges(ranges, 0)
}

// dayRow is one activity of a day: one that is stored, or one that is planned.
type dayRow struct {
	date   int32
	id     pgtype.Int8
	counts acwr.Activity
	stored *activityResults // nil for a planned one
}

// addUser computes a user's results day by day. Disjoint windows need no reset: each
// begins with the days that count into its first result. Unless doubles is nil, the later
// of two doubles counts as 0.
func (in *ingester) addUser(r *planResults, rows []activityResults, planned []*jobs.Activity, gone map[int64]bool, doubles *comparedRecordings, wanted []dayRange, calculator *acwr.Calculator) {
	days := make([]dayRow, 0, len(rows)+len(planned))
	replaced := make(map[int64]bool, len(planned))
	for _, a := range planned {
		replaced[a.ActivityID] = true
		days = append(days, dayRow{daysSinceEpoch(a.Date), pgtype.Int8{Int64: a.ActivityID, Valid: true}, acwr.Activity{Load: single(a.TotalLoadMiles), Trimp: single(a.Trimp)}, nil})
	}
	for i := range rows {
		if row := &rows[i]; !gone[row.activityID.Int64] && !replaced[row.activityID.Int64] {
			days = append(days, dayRow{toDays(row.date), row.activityID, row.counts, row})
		}
	}
	slices.SortFunc(days, func(a, b dayRow) int { return cmp.Or(cmp.Compare(a.date, b.date), compareIDs(a.id, b.id)) })
	for len(days) > 0 {
		n := 1
		for n < len(days) && days[n].date == days[0].date {
			n++
		}
		doubles.ignoreLater(days[:n])
		r.day(days[:n], &wanted, calculator)
		days = days[n:]
	}
}

// day computes one day, and removes the ranges before it from wanted.
func (r *planResults) day(rows []dayRow, wanted *[]dayRange, calculator *acwr.Calculator) {
	activities := make([]acwr.Activity, len(rows))
	for i, row := range rows {
		activities[i] = row.counts
	}
	date := rows[0].date
	values := calculator.Next(int(date), activities...)
	for len(*wanted) > 0 && (*wanted)[0].to < date {
		*wanted = (*wanted)[1:]
	}
	if len(*wanted) == 0 || date < (*wanted)[0].from {
		return
	}
	for _, row := range rows {
		switch {
		case row.stored == nil:
			r.own[row.id.Int64] = values
		case !row.stored.stored.equal(values):
			r.following.add(row.stored, values)
		}
	}
}

// columns returns the results of activities as arrays for unnest, with NULL for
// rows that keep their results.
func (r *planResults) columns(activities []*jobs.Activity) []any {
	arrays := make([]any, len(acwr.Columns))
	if len(r.own) == 0 {
		return arrays
	}
	columns := make([]pgtype.FlatArray[pgtype.Float4], len(acwr.Columns))
	for c := range columns {
		columns[c] = make(pgtype.FlatArray[pgtype.Float4], len(activities))
		arrays[c] = columns[c]
	}
	for i, a := range activities {
		values, computed := r.own[a.ActivityID]
		if !computed {
			continue
		}
		for c, x := range values.Array() {
			columns[c][i] = pgtype.Float4{Float32: x, Valid: true}
		}
	}
	return arrays
}
