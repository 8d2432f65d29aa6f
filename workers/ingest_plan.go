package workers

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"

	"github.com/trainingmonkey/worker/jobs"
)

// storedActivity is what ingest needs to know of a row that exists.
type storedActivity struct {
	userID  int32
	date    int32 // days since 1970-01-01
	load    float32
	trimp   float32
	version int64 // id of the job that wrote it, 0 when the application did
}

// versionKey identifies the versions that one user enqueued of one activity.
type versionKey struct {
	userID     int32
	activityID int64
}

// userDay is one day of one user.
type userDay struct{ userID, date int32 }

// restDay is a placeholder that the application made for a day without an
// activity. It should weigh nothing.
type restDay struct {
	activityID  int64
	load, trimp float32
}

// reject is an activity that does not become a row.
type reject struct {
	jobID  int64
	item   *ingestItem
	reason string
}

// ingestPlan decides, from the jobs of a batch and the rows they meet, what is
// to be written. It is pure: the same jobs and rows give the same plan.
//
// Versions of an activity are ordered by job id, within a job by position. The
// plan goes through them in that order and keeps the newest; what the database
// holds takes part with the version that wrote it, and recorded versions (of
// deletes, and of versions that were right already) with theirs.
type ingestPlan struct {
	stored   map[int64]storedActivity
	recorded map[versionKey]int64
	restDays map[userDay][]restDay

	current   map[int64]*plannedActivity // by activity id, all that the batch touches
	sortedIDs []int64                    // its keys
	rejects   []reject
}

// plannedActivity is the state of one activity after the jobs seen so far.
type plannedActivity struct {
	exists  bool
	userID  int32
	version int64
	next    *jobs.Activity  // nil while the row stays as it is stored
	deletes map[int32]int64 // by user: the newest delete, when the activity is gone
}

func newIngestPlan(stored map[int64]storedActivity, recorded map[versionKey]int64, restDays map[userDay][]restDay) *ingestPlan {
	return &ingestPlan{stored: stored, recorded: recorded, restDays: restDays, current: map[int64]*plannedActivity{}}
}

// add takes the next item; items come in the order in which they were enqueued.
func (p *ingestPlan) add(jobID int64, item *ingestItem) {
	if item.fault != nil {
		p.reject(jobID, item, item.fault.Error())
		return
	}
	a := item.activity
	state := p.state(a.ActivityID)
	if state.exists && state.userID != a.UserID {
		p.reject(jobID, item, "activity_id belongs to another user")
		return
	}
	newest := max(p.recorded[versionKey{a.UserID, a.ActivityID}], state.deletes[a.UserID])
	if state.exists {
		newest = max(newest, state.version)
	}
	if jobID < newest {
		return // a newer version was enqueued after this one
	}
	if a.Deleted {
		state.exists, state.next = false, nil
		if state.deletes == nil {
			state.deletes = map[int32]int64{}
		}
		state.deletes[a.UserID] = jobID
		return
	}
	state.exists, state.userID, state.version, state.next = true, a.UserID, jobID, a
	delete(state.deletes, a.UserID)
}

func (p *ingestPlan) reject(jobID int64, item *ingestItem, reason string) {
	p.rejects = append(p.rejects, reject{jobID: jobID, item: item, reason: reason})
}

func (p *ingestPlan) state(activityID int64) *plannedActivity {
	state, ok := p.current[activityID]
	if !ok {
		state = &plannedActivity{}
		if row, exists := p.stored[activityID]; exists {
			state.exists, state.userID, state.version = true, row.userID, row.version
		}
		p.current[activityID] = state
	}
	return state
}

// upserts are activities whose rows are to hold their newest version, in key
// order, and the job of each.
type upserts struct {
	activities []*jobs.Activity
	versions   []int64
}

// upserts returns the rows to add and those that are there, as of another
// version or of the same.
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
	}
	return added, kept
}

// healedDays returns the days with a placeholder on which an athlete trained
// after all: also those whose activity has been stored for long.
func (p *ingestPlan) healedDays() []userDay {
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

// removals returns the ids of stored rows that go: deleted ones, those whose
// owner gave the id up to another user within the batch, and placeholders of
// healed days.
func (p *ingestPlan) removals() []int64 {
	var ids []int64
	for _, day := range p.healedDays() {
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
			records.add(versionKey{userID, id}, version)
		}
	}
	return records.sorted()
}

// confirmed returns the versions that were enqueued after the one the row holds
// but say the same: the row is not written, so it cannot tell.
func (p *ingestPlan) confirmed(written map[int64]bool) versionRecords {
	var records versionRecords
	for _, id := range p.activityIDs() {
		state := p.current[id]
		if state.exists && state.next != nil && !written[id] {
			records.add(versionKey{state.userID, id}, state.version)
		}
	}
	return records.sorted()
}

// changedDates returns the dates around which results change, by user: of new
// and removed rows, of moved ones both, of others when load or TRIMP differ.
func (p *ingestPlan) changedDates() map[int32][]int32 {
	dates := map[int32][]int32{}
	for _, day := range p.healedDays() {
		if slices.ContainsFunc(p.restDays[day], func(r restDay) bool { return r.load != 0 || r.trimp != 0 }) {
			dates[day.userID] = append(dates[day.userID], day.date)
		}
	}
	for _, id := range p.activityIDs() {
		state := p.current[id]
		row, wasStored := p.stored[id]
		stays := wasStored && state.exists && state.userID == row.userID
		if wasStored && !stays {
			dates[row.userID] = append(dates[row.userID], row.date)
		}
		if !state.exists || state.next == nil {
			continue
		}
		date := daysSinceEpoch(state.next.Date)
		moved := !stays || row.date != date
		if stays && moved {
			dates[row.userID] = append(dates[row.userID], row.date)
		}
		if moved || row.load != single(state.next.TotalLoadMiles) || row.trimp != single(state.next.Trimp) {
			dates[state.userID] = append(dates[state.userID], date)
		}
	}
	return dates
}

// single is an optional load as the sums see it: in the column's precision, 0
// when absent.
func single(x *float64) float32 {
	if x == nil {
		return 0
	}
	return float32(*x)
}

// activityIDs returns the ids that the batch touches, ascending. All items have
// been added by then.
func (p *ingestPlan) activityIDs() []int64 {
	if len(p.sortedIDs) != len(p.current) {
		p.sortedIDs = slices.Sorted(maps.Keys(p.current))
	}
	return p.sortedIDs
}

// versionRecords are rows of ingest_versions in the form that unnest takes.
type versionRecords struct {
	userIDs     []int32
	activityIDs []int64
	jobIDs      []int64
}

func (r *versionRecords) add(key versionKey, jobID int64) {
	r.userIDs = append(r.userIDs, key.userID)
	r.activityIDs = append(r.activityIDs, key.activityID)
	r.jobIDs = append(r.jobIDs, jobID)
}

// sorted orders by primary key: rows are written in key order.
func (r *versionRecords) sorted() versionRecords {
	order := make([]int, len(r.userIDs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(r.userIDs[a], r.userIDs[b]), cmp.Compare(r.activityIDs[a], r.activityIDs[b]))
	})
	var out versionRecords
	for _, i := range order {
		out.add(versionKey{r.userIDs[i], r.activityIDs[i]}, r.jobIDs[i])
	}
	return out
}

// partialIDs reads the ids of a payload as far as they are there.
func partialIDs(payload json.RawMessage) (userID, activityID *int64) {
	var ids map[string]json.RawMessage
	if json.Unmarshal(payload, &ids) != nil {
		return nil, nil
	}
	read := func(name string) *int64 {
		var id int64
		if raw, ok := ids[name]; !ok || json.Unmarshal(raw, &id) != nil || string(raw) == "null" {
			return nil
		}
		return &id
	}
	return read("user_id"), read("activity_id")
}
