package workers

import (
	"cmp"
	"reflect"
	"slices"
	"time"

	"github.com/trainingmonkey/worker/jobs"
)

// layer is a partial version of an activity: its fields replace those of the version below.
type layer struct {
	JobID    int64          `json:"job_id"`
	Activity *jobs.Activity `json:"activity,omitempty"` // nil in a record if it is the same as the row, which consists of layers only
}

// layered is the record of an activity whose newest versions are partial: the whole
// version or deletion below them, and each of them. It is kept while an older version may
// still be worked, so that it can be placed between them.
type layered struct {
	Base   int64    `json:"base"`
	Alone  bool     `json:"alone,omitempty"` // there is nothing below the layers
	Below  decision `json:"below"`           // of the row, without the layers
	Row    int64    `json:"row"`             // version of the row that this record describes, or noRow
	Layers []layer  `json:"layers"`
}

// noRow is the version of a row that does not exist; the version of a row of the
// application's is 0.
const noRow = -1

// isLayer reports whether a version is laid over older ones instead of replacing them.
func isLayer(a *jobs.Activity) bool { return !a.Deleted && (a.Partial || a.Unloaded) }

// withLayer inserts a layer in the order of job ids and returns its index. Of two in
// one job the later one is on top.
func withLayer(layers []layer, l layer) (all []layer, at int) {
	for at = len(layers); at > 0 && layers[at-1].JobID > l.JobID; at-- {
	}
	return slices.Insert(slices.Clone(layers), at, l), at
}

// above returns the layers newer than a version.
func above(layers []layer, version int64) []layer {
	first := slices.IndexFunc(layers, func(l layer) bool { return l.JobID > version })
	if first < 0 {
		return nil
	}
	return layers[first:]
}

// withoutRowVersion omits from the record the activity that the row itself has.
func withoutRowVersion(layers []layer, rowVersion *jobs.Activity) []layer {
	if rowVersion == nil {
		return layers
	}
	short := slices.Clone(layers)
	for i, l := range layers {
		if sameStatement(l.Activity, rowVersion) {
			short[i].Activity = nil
		}
	}
	return short
}

// withRowVersion reverses withoutRowVersion. It returns false if rowVersion is
// nil but needed.
func withRowVersion(layers []layer, rowVersion *jobs.Activity) ([]layer, bool) {
	whole := slices.Clone(layers)
	for i := range whole {
		if whole[i].Activity == nil {
			whole[i].Activity = rowVersion
		}
	}
	return whole, rowVersion != nil || !slices.ContainsFunc(layers, func(l layer) bool { return l.Activity == nil })
}

// sameStatement reports whether two versions are equal in the precision of the columns.
func sameStatement(a, b *jobs.Activity) bool {
	if a.Date != b.Date || a.DayFromUTC != b.DayFromUTC || a.Unloaded != b.Unloaded {
		return false
	}
	x, y := reflect.ValueOf(a).Elem(), reflect.ValueOf(b).Elem()
	for _, i := range optionalFields {
		v, w := x.Field(i), y.Field(i)
		if v.IsNil() || w.IsNil() {
			if v.IsNil() != w.IsNil() {
				return false
			}
			continue
		}
		if v, w = v.Elem(), w.Elem(); v.CanFloat() && float32(v.Float()) == float32(w.Float()) {
			continue
		}
		if !v.Equal(w) {
			return false
		}
	}
	return true
}

// fold applies the layers to a whole version, or to nothing. A version that only removes
// a load creates no activity.
func fold(whole *jobs.Activity, layers []layer) *jobs.Activity {
	for _, l := range layers {
		switch {
		case whole != nil:
			whole = over(whole, l.Activity)
		case !l.Activity.Unloaded:
			whole = l.Activity
		}
	}
	return whole
}

// over applies a partial version to a version that is fully known.
func over(below, stated *jobs.Activity) *jobs.Activity {
	merged := overlay(below, stated)
	if stated.DayFromUTC && below.StartTime != nil && !below.DayFromUTC {
		merged.StartTime = below.StartTime
	} else {
		merged.Date, merged.DayFromUTC = stated.Date, stated.DayFromUTC
	}
	if !betterLoad(stated, below.TotalLoadMiles != nil) {
		merged.TotalLoadMiles = below.TotalLoadMiles
	}
	if !betterTRIMP(stated, below.Trimp != nil, orZero(below.TrimpCalculationMethod)) {
		merged.Trimp, merged.TrimpCalculationMethod = below.Trimp, below.TrimpCalculationMethod
	}
	return merged
}

// overlay returns below with the non-nil fields of stated.
func overlay(below, stated *jobs.Activity) *jobs.Activity {
	merged := *below
	from, to := reflect.ValueOf(stated).Elem(), reflect.ValueOf(&merged).Elem()
	for _, i := range optionalFields {
		if !from.Field(i).IsNil() {
			to.Field(i).Set(from.Field(i))
		}
	}
	return &merged
}

// decision has the fields of an activity for which partial versions follow rules:
// its day and its loads.
type decision struct {
	Date    int32    `json:"date"`            // days since 1970-01-01
	Start   string   `json:"start,omitempty"` // "" for NULL
	FromUTC bool     `json:"from_utc,omitempty"`
	Load    *float32 `json:"load,omitempty"` // nil for NULL
	TRIMP   *float32 `json:"trimp,omitempty"`
	Method  string   `json:"method,omitempty"` // "" for NULL
}

// overRow applies layers to a row of which only the decision is known. A nil field of
// next keeps the row's value; day says whether the day comes from UTC.
func overRow(below decision, layers []layer) (next *jobs.Activity, day bool) {
	next = layers[0].Activity
	for _, l := range layers {
		next, below = overlay(next, l.Activity), below.after(l.Activity)
	}
	next.Date, next.StartTime = toDate(below.Date).Format(time.DateOnly), orNil(below.Start)
	next.TotalLoadMiles, next.Trimp, next.TrimpCalculationMethod = asStated(below.Load), asStated(below.TRIMP), orNil(below.Method)
	return next, below.FromUTC
}

// after returns the decision after a partial version is applied.
func (s decision) after(stated *jobs.Activity) decision {
	if !stated.DayFromUTC || s.Start == "" || s.FromUTC {
		s.Date, s.FromUTC = daysSinceEpoch(stated.Date), stated.DayFromUTC
		s.Start = cmp.Or(orZero(stated.StartTime), s.Start)
	}
	if betterLoad(stated, s.Load != nil) {
		s.Load = new(float32(*stated.TotalLoadMiles))
	}
	if betterTRIMP(stated, s.TRIMP != nil, s.Method) {
		s.TRIMP = new(float32(*stated.Trimp))
		if stated.TrimpCalculationMethod != nil {
			s.Method = *stated.TrimpCalculationMethod
		}
	}
	return s
}

func asStated(x *float32) *float64 {
	if x == nil {
		return nil
	}
	return new(float64(*x))
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Values of trimp_calculation_method: from the average heart rate, as the
// application writes it, and of a type that has no training load.
const (
	methodAverage = "average"
	methodNone    = "none"
)

// betterLoad reports whether the load of a partial version replaces the stored one. The
// load of an old export without elevation does not.
func betterLoad(stated *jobs.Activity, isThere bool) bool {
	return stated.TotalLoadMiles != nil && (!stated.DayFromUTC || stated.ElevationGainFeet != nil || stated.Unloaded || !isThere)
}

// betterTRIMP reports whether the TRIMP of a partial version replaces the stored one. A
// TRIMP from the average heart rate does not replace one from a stream, and the 0 of an
// activity without heart rate replaces none.
func betterTRIMP(stated *jobs.Activity, isThere bool, method string) bool {
	switch {
	case stated.Trimp == nil:
		return false
	case stated.TrimpCalculationMethod == nil:
		return *stated.Trimp != 0 || !isThere
	}
	return *stated.TrimpCalculationMethod != methodAverage || method == "" || method == methodAverage || method == methodNone
}

// asLayer returns the version to be applied as a layer. A version of a type without
// training load removes the load that the activity had as another type.
func asLayer(a *jobs.Activity) *jobs.Activity {
	if !a.Unloaded {
		return a
	}
	none, method := 0., methodNone
	return &jobs.Activity{
		ActivityID: a.ActivityID, UserID: a.UserID, Date: a.Date, StartTime: a.StartTime, DayFromUTC: a.DayFromUTC, Partial: true, Unloaded: true,
		Name: a.Name, Type: a.Type, TotalLoadMiles: &none, ElevationLoadMiles: &none, Trimp: &none, TrimpCalculationMethod: &method,
	}
}

// optionalFields are the indexes of the fields that an activity may omit.
var optionalFields = func() (indexes []int) {
	activity := reflect.TypeFor[jobs.Activity]()
	for i := range activity.NumField() {
		if activity.Field(i).Type.Kind() == reflect.Pointer {
			indexes = append(indexes, i)
		}
	}
	return indexes
}()

// orZero returns what p points to, or the zero value for nil.
func orZero[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}
