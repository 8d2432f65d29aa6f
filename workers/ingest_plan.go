package workers

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/trainingmonkey/worker/jobs"
)

// storedActivity is what ingest needs to know of a row that exists.
type storedActivity struct {
	decision
	userID  int32
	version int64   // id of the job that wrote it, 0 when the application did
	alone   *string // as JSON, where it holds nothing but partial versions, otherwise nil
}

// rowVersion returns the row as a version if it is made of partial versions only,
// otherwise nil.
func (r storedActivity) rowVersion() *jobs.Activity {
	if r.alone == nil {
		return nil
	}
	a, err := jobs.DecodeActivity([]byte(*r.alone))
	if err != nil {
		return nil // changed by the application to values that no version can have
	}
	a.Partial, a.DayFromUTC = true, r.FromUTC
	return &a
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

// ingestPlan decides what is written, from the jobs of a batch and the stored rows. It is
// pure: the same jobs and rows give the same plan.
//
// Versions of an activity are ordered by job id, within a job by position. The plan goes
// through them in that order and keeps the newest whole version, with the newer partial
// versions over it. A stored row takes part with the version that wrote it, and so do
// recorded versions (of deletes, of versions that changed nothing, and partial ones).
type ingestPlan struct {
	stored   map[int64]storedActivity
	recorded map[versionKey]recordedVersion
	restDays map[userDay][]restDay

	current   map[int64]*plannedActivity // by activity id, all that the batch touches
	sortedIDs []int64                    // its keys
	rejects   []reject
}

// plannedActivity is the state of one activity after the jobs seen so far.
type plannedActivity struct {
	exists  bool
	userID  int32
	version int64           // the newest
	next    *jobs.Activity  // nil while the row stays as it is stored
	keeps   bool            // what next does not state stays as it is stored
	day     *bool           // whether the row's day comes from UTC, nil to leave it
	deletes map[int32]int64 // by user: the newest delete, when the activity is gone

	base      int64          // the newest version that left nothing of older ones
	whole     *jobs.Activity // what it left, nil for nothing
	known     bool           // whole does say; otherwise the row does
	changed   bool           // the layers are others than recorded
	met       bool           // recorded versions have been applied
	*overlays                // nil where there is neither a row nor a partial version: usually
}

// overlays are the partial versions over an activity's whole version or row.
type overlays struct {
	layers     []layer
	applied    int            // how many of them the row already contains
	below      decision       // of the row, without them
	between    bool           // a version belongs between those that the row contains
	rowVersion *jobs.Activity // the row as a version, where it is made of partial ones alone
}

// overlaid returns the activity's overlays, to be changed.
func (s *plannedActivity) overlaid() *overlays {
	if s.overlays == nil {
		s.overlays = &overlays{}
	}
	return s.overlays
}

// partials returns the partial versions over the activity's whole version or row.
func (s *plannedActivity) partials() []layer {
	if s.overlays == nil {
		return nil
	}
	return s.layers
}

func newIngestPlan(stored map[int64]storedActivity, recorded map[versionKey]recordedVersion, restDays map[userDay][]restDay) *ingestPlan {
	return &ingestPlan{stored: stored, recorded: recorded, restDays: restDays, current: map[int64]*plannedActivity{}}
}

// add takes the next item; items come in the order in which they were enqueued.
func (p *ingestPlan) add(jobID int64, item *ingestItem) {
	if item.fault != nil {
		p.reject(jobID, item, item.fault.Error())
		return
	}
	a := item.activity
	state := p.state(a)
	switch {
	case state.exists && state.userID != a.UserID:
		p.reject(jobID, item, "activity_id belongs to another user")
		return
	case jobID < state.base:
		return // a newer version was enqueued after this one
	case isLayer(a):
		if a.Unloaded {
			a = withoutLoad(a)
		}
		over, at := state.overlaid(), 0
		over.layers, at = withLayer(over.layers, layer{jobID, a})
		over.between = over.between || at < over.applied
	default:
		state.base, state.whole, state.known = jobID, a, true
		if a.Deleted {
			state.whole = nil
		}
		if state.overlays != nil {
			state.layers = above(state.layers, jobID)
		}
	}
	state.version, state.changed = max(state.version, jobID), true
	p.resolve(a, state)
}

// resolve computes what is to be stored from the version below and the layers.
func (p *ingestPlan) resolve(a *jobs.Activity, state *plannedActivity) {
	if !state.known {
		p.resolveOverRow(state, p.stored[a.ActivityID].decision)
		return
	}
	state.next, state.keeps, state.day = fold(state.whole, state.partials()), false, nil
	state.exists, state.userID = state.next != nil, a.UserID
	delete(state.deletes, a.UserID)
	if state.next == nil && len(state.partials()) == 0 {
		if state.deletes == nil {
			state.deletes = map[int32]int64{}
		}
		state.deletes[a.UserID] = state.base
	}
	if state.exists && state.next.DayFromUTC {
		state.day = &state.next.DayFromUTC
	}
}

// resolveOverRow lays the new layers over the row, or all layers again if one belongs
// between those that the row contains.
func (p *ingestPlan) resolveOverRow(state *plannedActivity, row decision) {
	below, layers := row, state.layers[min(state.applied, len(state.layers)):]
	if state.between {
		below, layers = state.below, state.layers
	}
	var fromUTC bool
	state.next, fromUTC = overRow(below, layers)
	state.keeps, state.day = true, nil
	if fromUTC != row.FromUTC {
		state.day = &fromUTC
	}
}

func (p *ingestPlan) reject(jobID int64, item *ingestItem, reason string) {
	p.rejects = append(p.rejects, reject{jobID: jobID, item: item, reason: reason})
}

// state returns the state of an activity from the view of a's user.
func (p *ingestPlan) state(a *jobs.Activity) *plannedActivity {
	state, ok := p.current[a.ActivityID]
	row, stored := p.stored[a.ActivityID]
	if !ok {
		state = &plannedActivity{exists: stored, userID: row.userID, version: row.version, base: row.version}
		if stored {
			state.overlays = &overlays{below: row.decision}
		}
		p.current[a.ActivityID] = state
	}
	recorded := p.recorded[versionKey{a.UserID, a.ActivityID}]
	switch {
	case state.exists && !state.met && state.userID == a.UserID:
		state.meet(recorded, row)
	case !state.exists && (!ok || state.userID != a.UserID):
		*state = plannedActivity{userID: a.UserID, known: true, deletes: state.deletes, base: state.deletes[a.UserID]}
		state.meet(recorded, storedActivity{version: noRow})
	}
	return state
}

// isAlone reports that there is nothing below the layers.
func (s *plannedActivity) isAlone() bool { return s.known && s.whole == nil && len(s.partials()) > 0 }

// belowLayers returns what the rules decide for the activity without its layers.
func (s *plannedActivity) belowLayers() decision {
	if !s.known || s.whole == nil {
		return s.below
	}
	w := s.whole
	below := decision{Date: daysSinceEpoch(w.Date), Start: textOrEmpty(w.StartTime), FromUTC: w.DayFromUTC, Method: textOrEmpty(w.TrimpCalculationMethod)}
	if w.TotalLoadMiles != nil {
		below.Load = asStored(w.TotalLoadMiles)
	}
	if w.Trimp != nil {
		below.TRIMP = asStored(w.Trimp)
	}
	return below
}

// meet applies recorded versions to the state, as far as they match the row.
func (s *plannedActivity) meet(recorded recordedVersion, row storedActivity) {
	s.met = true
	s.version = max(s.version, recorded.jobID)
	if recorded.layers == nil && row.alone == nil {
		s.base = max(s.base, recorded.jobID)
		return
	}
	over := s.overlaid()
	over.rowVersion = row.rowVersion()
	if recorded.layers != nil && recorded.layers.Row == row.version {
		if layers, whole := withRowVersion(recorded.layers.Layers, over.rowVersion); whole {
			s.base, s.known = max(recorded.layers.Base, s.deletes[s.userID]), s.known || recorded.layers.Alone
			over.layers, over.applied, over.below = layers, len(layers), recorded.layers.Below
			return
		}
	}
	if over.rowVersion != nil && recorded.jobID < row.version {
		s.base, s.known = recorded.jobID, true
		over.layers, over.applied = []layer{{row.version, over.rowVersion}}, 1
		return
	}
	s.base = max(s.base, recorded.jobID)
}

// upserts are activities to be written, in key order. For each they have the job, whether
// fields that it does not state keep the row's values, whether its day comes from UTC,
// and whether it is made of partial versions only.
type upserts struct {
	activities []*jobs.Activity
	versions   []int64
	keeps      []bool
	days       []*bool
	alone      []*bool
	partial    bool // the last three are used
}

// upserts returns the rows to insert and those that exist already, of the same version or
// of another.
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

// removals returns the ids of stored rows that go: deleted ones, those whose
// owner gave the id up to another user within the batch, and placeholders of
// days whose rest row was replaced.
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
// enqueued after the row's version but say the same, so that the row is not written.
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

// changedDates returns the dates around which results change, by user: the dates of new
// and removed rows, both dates of moved rows, and the dates of rows whose load or TRIMP
// differs or for which more reports that a weight may change. more gets the id 0 for a
// day that loses a placeholder.
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
		if moved || stored(row.Load) != single(state.next.TotalLoadMiles) || stored(row.TRIMP) != single(state.next.Trimp) || more(state.userID, id) {
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

// stored is a load of a row as the sums see it.
func stored(x *float32) float32 {
	if x == nil {
		return 0
	}
	return *x
}

// activityIDs returns the ids that the batch touches, ascending. All items have
// been added by then.
func (p *ingestPlan) activityIDs() []int64 {
	if len(p.sortedIDs) != len(p.current) {
		p.sortedIDs = slices.Sorted(maps.Keys(p.current))
	}
	return p.sortedIDs
}

// partialIDs reads the ids that a payload has.
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
