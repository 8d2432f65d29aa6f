package workers

import (
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
	below := decision{Date: daysSinceEpoch(w.Date), Start: orZero(w.StartTime), FromUTC: w.DayFromUTC, Method: orZero(w.TrimpCalculationMethod)}
	if w.TotalLoadMiles != nil {
		below.Load = new(float32(*w.TotalLoadMiles))
	}
	if w.Trimp != nil {
		below.TRIMP = new(float32(*w.Trimp))
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
