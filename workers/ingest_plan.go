package workers

import (
	"github.com/trainingmonkey/worker/jobs"
)

// storedActivity has what ingest needs of a stored row.
type storedActivity struct {
	decision
	userID  int32
	version int64   // id of the job that wrote it, 0 if the application did
	alone   *string // the row as JSON if it consists of partial versions only, otherwise nil
}

// rowVersion returns the row as a version if it consists of partial versions
// only, otherwise nil.
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

// restDay is a placeholder that the application inserted for a day without an
// activity. Its loads should be 0.
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

// ingestPlan decides what to write for a batch of jobs, given the stored rows. It is
// pure: the same jobs and rows give the same plan.
//
// Versions of an activity are ordered by job id, and within a job by position. The plan
// keeps the newest whole version, with the newer partial versions over it. A stored row
// counts as the version that wrote it; recorded versions (deletes, versions that changed
// nothing, and partial ones) count as well.
type ingestPlan struct {
	stored   map[int64]storedActivity
	recorded map[versionKey]recordedVersion
	restDays map[userDay][]restDay

	current   map[int64]*plannedActivity // by activity id, for all activities of the batch
	sortedIDs []int64                    // its keys
	rejects   []reject
}

// plannedActivity is the state of one activity after the jobs seen so far.
type plannedActivity struct {
	exists  bool
	userID  int32
	version int64           // the newest
	next    *jobs.Activity  // nil if the stored row stays as it is
	keeps   bool            // nil fields of next keep the stored values
	day     *bool           // whether the row's day comes from UTC, nil to keep what is stored
	deletes map[int32]int64 // by user: the newest delete, if the activity is gone

	base      int64          // the newest version that replaced all older ones
	whole     *jobs.Activity // that version, nil for a delete or none
	known     bool           // whole is valid; otherwise the row has that version
	changed   bool           // the layers differ from the recorded ones
	met       bool           // recorded versions have been applied
	*overlays                // nil without a row and partial versions, which is usual
}

// overlays are the partial versions over an activity's whole version or row.
type overlays struct {
	layers     []layer
	applied    int            // how many of layers the row already contains
	below      decision       // of the row without its layers
	between    bool           // a new layer belongs between those that the row contains
	rowVersion *jobs.Activity // the row as a version, if it consists of partial ones only
}

// overlaid returns the activity's overlays, to be modified.
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

// add adds the next item. Items must be added in the order in which they were enqueued.
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
		over, at := state.overlaid(), 0
		over.layers, at = withLayer(over.layers, layer{jobID, asLayer(a)})
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

// resolve computes what will be stored from the version below and the layers.
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

// resolveOverRow applies the new layers to the row, or all layers again if one
// belongs between those that the row contains.
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

// state returns the state of an activity as its user sees it.
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

// isAlone reports whether there is nothing below the layers.
func (s *plannedActivity) isAlone() bool { return s.known && s.whole == nil && len(s.partials()) > 0 }

// belowLayers returns the decision for the activity without its layers.
func (s *plannedActivity) belowLayers() decision {
	if !s.known || s.whole == nil {
		return s.below
	}
	w := s.whole
	below := decision{Date: daysSinceEpoch(w.Date), Start: orZero(w.StartTime), FromUTC: w.DayFromUTC, Method: orZero(w.TrimpCalculationMethod)}
	if w.TotalLoadMiles != nil {
		below.Load = new(float32(*w.TotalLoadMiles))
	}
	if w.Trimp != nil {
		below.TRIMP = new(float32(*w.Trimp))
	}
	return below
}

// meet applies recorded versions to the state, if they match the row.
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
