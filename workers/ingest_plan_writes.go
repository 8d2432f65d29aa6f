package workers

import (
	"maps"
	"slices"

	"github.com/trainingmonkey/worker/jobs"
)

// upserts are activities to be written, in key order, each with its job, whether its nil
// fields keep the row's values, whether its day comes from UTC, and whether it consists
// of partial versions only.
type upserts struct {
	activities []*jobs.Activity
	versions   []int64
	keeps      []bool
	days       []*bool
	alone      []*bool
	partial    bool // the last three are used
}

// upserts returns the rows to insert, and those that exist already, which may already be
// up to date.
func (p *ingestPlan) upserts() (added, kept upserts) {
	for _, id := range p.activityIDs() {
		state := p.current[id]
		if !state.exists || state.next == nil {
			continue
		}
		to := &added
		if row, wasStored := p.stored[id]; wasStored && row.userID == state.userID {
			to = &kept
		}
		to.activities, to.versions = append(to.activities, state.next), append(to.versions, state.version)
		to.keeps, to.days = append(to.keeps, state.keeps), append(to.days, state.day)
		var alone *bool
		if state.isAlone() {
			alone = &state.known
		}
		to.alone = append(to.alone, alone)
		to.partial = to.partial || state.keeps || state.day != nil || alone != nil
	}
	return added, kept
}

// replacedRestDays returns the days with a placeholder and an activity, including
// activities that were stored earlier.
func (p *ingestPlan) replacedRestDays() []userDay {
	var days []userDay
	for _, id := range p.activityIDs() {
		if state := p.current[id]; state.exists && state.next != nil {
			day := userDay{state.userID, daysSinceEpoch(state.next.Date)}
			if len(p.restDays[day]) > 0 {
				days = append(days, day)
			}
		}
	}
	return days
}

// removals returns the ids of stored rows to be deleted: deleted activities,
// those whose id passes to another user within the batch, and rest-day
// placeholders that an activity replaces.
func (p *ingestPlan) removals() []int64 {
	var ids []int64
	for _, day := range p.replacedRestDays() {
		for _, rest := range p.restDays[day] {
			ids = append(ids, rest.activityID)
		}
	}
	for _, id := range p.activityIDs() {
		row, wasStored := p.stored[id]
		if state := p.current[id]; wasStored && (!state.exists || state.userID != row.userID) {
			ids = append(ids, id)
		}
	}
	return ids
}

// tombstones returns the newest delete of every activity and user, in key order.
func (p *ingestPlan) tombstones() versionRecords {
	var records versionRecords
	for _, id := range p.activityIDs() {
		for userID, version := range p.current[id].deletes {
			records.add(versionKey{userID, id}, version, nil, true)
		}
	}
	return records.sorted()
}

// confirmed returns the versions that no row records: partial ones, and those that were
// enqueued after the row's version with the same values, so that the row is not written.
func (p *ingestPlan) confirmed(written map[int64]bool) versionRecords {
	var records versionRecords
	for _, id := range p.activityIDs() {
		state := p.current[id]
		key := versionKey{state.userID, id}
		recorded := p.recorded[key]
		row := p.stored[id]
		// Without a record, versions older than the row's would be lost.
		replaces := recorded.layers != nil || row.alone != nil && row.version == state.version
		switch {
		case state.isAlone() && len(state.partials()) == 1 && written[id] && recorded.layers == nil && state.base <= recorded.jobID:
			// The row records it.
		case state.changed && len(state.partials()) > 0:
			l := layered{Row: noRow, Base: state.base, Alone: state.isAlone(), Below: state.belowLayers(), Layers: state.layers}
			if written[id] {
				l.Row = state.version
			} else if state.exists {
				l.Row, l.Layers = row.version, withoutRowVersion(state.layers, state.rowVersion)
			}
			records.add(key, state.version, &l, replaces)
		case state.exists && state.next != nil && !written[id]:
			records.add(key, state.version, nil, replaces)
		}
	}
	return records.sorted()
}

// changedDates returns the dates from which results change, by user: the dates of new
// and removed rows, both dates of moved rows, and the dates of rows whose load or TRIMP
// differs, or for which more reports that they may start or stop counting. For a day
// that loses a placeholder more gets the id 0.
func (p *ingestPlan) changedDates(more func(userID int32, activityID int64) bool) map[int32][]int32 {
	dates := map[int32][]int32{}
	for _, day := range p.replacedRestDays() {
		if more(day.userID, 0) || slices.ContainsFunc(p.restDays[day], func(r restDay) bool { return r.load != 0 || r.trimp != 0 }) {
			dates[day.userID] = append(dates[day.userID], day.date)
		}
	}
	for _, id := range p.activityIDs() {
		state := p.current[id]
		row, wasStored := p.stored[id]
		stays := wasStored && state.exists && state.userID == row.userID
		if wasStored && !stays {
			dates[row.userID] = append(dates[row.userID], row.Date)
		}
		if !state.exists || state.next == nil {
			continue
		}
		date := daysSinceEpoch(state.next.Date)
		moved := !stays || row.Date != date
		if stays && moved {
			dates[row.userID] = append(dates[row.userID], row.Date)
		}
		if moved || orZero(row.Load) != single(state.next.TotalLoadMiles) || orZero(row.TRIMP) != single(state.next.Trimp) || more(state.userID, id) {
			dates[state.userID] = append(dates[state.userID], date)
		}
	}
	return dates
}

// single returns an optional load as it counts in the sums: in the column's
// precision, 0 for nil.
func single(x *float64) float32 { return float32(orZero(x)) }

// activityIDs returns the ids of the batch's activities, ascending. It must be
// called after the last add.
func (p *ingestPlan) activityIDs() []int64 {
	if len(p.sortedIDs) != len(p.current) {
		p.sortedIDs = slices.Sorted(maps.Keys(p.current))
	}
	return p.sortedIDs
}
