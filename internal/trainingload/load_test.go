package trainingload

import (
	"math"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestExternalLoad(t *testing.T) {
	t.Parallel()
	run := func(s Session) float64 { return ExternalLoad(s).TotalLoadMiles }
	for _, c := range []struct {
		name string
		got  float64
		want float64
	}{
		{"10 km with 300 m", run(Session{Type: "Run", Miles: Miles(10000), Feet: Feet(300)}), 7.53},
		{"walk", run(Session{Type: "Walk", Miles: 3, Feet: 750}), 4},
		{"unknown", run(Session{Type: "Snowshoe", Miles: 3, Feet: 750}), 4},
		{"30 mi at 21 mph, 1100 ft", run(Session{Type: "Ride", Miles: 30, Feet: 1100, Mph: 21}), 13.5},
		{"the same by its duration", run(Session{Type: "Ride", Miles: 30, Feet: 1100, Minutes: 30. / 21 * 60}), 13.5},
		{"ride of unknown speed", run(Session{Type: "Ride", Miles: 40}), 10},
		{"ride at 12 mph", run(Session{Type: "Ride", Miles: 12, Minutes: 60}), 3},
		{"ride at 16 mph", run(Session{Type: "Ride", Miles: 35, Mph: 16}), 10},
		{"ride at 20 mph", run(Session{Type: "Ride", Miles: 29, Mph: 20}), 10},
		{"ride above 12 mph", run(Session{Type: "Ride", Miles: 35, Mph: 12.001}), 10},
		{"ride above 20 mph", run(Session{Type: "Ride", Miles: 24, Mph: 20.001}), 10},
		{"ride of infinite speed", run(Session{Type: "Ride", Miles: 40, Minutes: 3.6e-307}), 10},
		{"swim", run(Session{Type: "Swim", Miles: 1.5, Feet: 99}), 6},
		{"open water", run(Session{Type: "Open Water Swim", Miles: 1}), 4.2},
		{"rowing", run(Session{Type: "Rowing", Miles: 2, Feet: 99}), 3},
		{"rowing on water", run(Session{Type: "Rowing on Water", Miles: 2}), 3.4},
		{"kayaking", run(Session{Type: "Kayaking", Miles: 2}), 3.4},
		{"backcountry skiing", run(Session{Type: "BackcountrySki", Miles: 5, Feet: 2000}), 10},
		{"strength for 60 min", run(Session{Type: "WeightTraining", Minutes: 60}), 1.8},
		{"strength at RPE 10", run(Session{Type: "Workout", Minutes: 30, RPE: 10}), 1.5},
		{"strength at RPE 11", run(Session{Type: "Workout", Minutes: 60, RPE: 11}), 1.8},
		{"strength at RPE -1", run(Session{Type: "Workout", Minutes: 60, RPE: -1}), 1.8},
		{"sport over type", run(Session{Type: "Run", Sport: Swimming, Miles: 1}), 4},
		{"NaN", run(Session{Miles: math.NaN(), Feet: 750}), 1},
		{"infinity", run(Session{Miles: math.Inf(1), Feet: math.Inf(-1)}), 0},
		{"negative", run(Session{Miles: -1, Feet: -1, Minutes: -1, Mph: -1}), 0},
	} {
		if c.got != c.want {
			t.Errorf("ExternalLoad of %s = %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestExternalLoadParts(t *testing.T) {
	t.Parallel()
	f := func(x float64) *float64 { return &x }
	for _, c := range []struct {
		in   Session
		want Load
	}{
		// 6.21 + 1.31 is 7.52: the sum is taken before rounding.
		{
			Session{Type: "TrailRun", Miles: Miles(10000), Feet: Feet(300), Minutes: 60},
			Load{Sport: Running, DistanceMiles: 6.21, ElevationGainFeet: 984.25, ElevationLoadMiles: 1.31, TotalLoadMiles: 7.53, AverageSpeedMph: f(6.21)},
		},
		{
			Session{Type: "GravelRide", Miles: 30, Feet: 1100, Mph: 21},
			Load{
				Sport: Cycling, DistanceMiles: 30, ElevationGainFeet: 1100, ElevationLoadMiles: 1, TotalLoadMiles: 13.5,
				AverageSpeedMph: f(21), CyclingEquivalentMiles: f(12.5), CyclingElevationFactor: f(1100),
			},
		},
		{
			Session{Type: "Swim", Miles: 1, Feet: 10},
			Load{Sport: Swimming, DistanceMiles: 1, ElevationGainFeet: 10, TotalLoadMiles: 4, SwimmingEquivalentMiles: f(4)},
		},
		{
			Session{Type: "Rowing", Miles: 2},
			Load{Sport: Rowing, DistanceMiles: 2, TotalLoadMiles: 3, RowingEquivalentMiles: f(3)},
		},
		{
			Session{Type: "BackcountrySki", Miles: 5, Feet: 2000},
			Load{
				Sport: BackcountrySkiing, DistanceMiles: 5, ElevationGainFeet: 2000, ElevationLoadMiles: 4, TotalLoadMiles: 10,
				BackcountrySkiingEquivalentMiles: f(10),
			},
		},
		{
			Session{Type: "Workout", Minutes: 60},
			Load{Sport: Strength, TotalLoadMiles: 1.8, StrengthEquivalentMiles: f(1.8)},
		},
		{Session{Miles: 1.5, Minutes: 3.6e-307}, Load{Sport: Running, DistanceMiles: 1.5, TotalLoadMiles: 1.5}}, // at infinite speed
		{Session{}, Load{Sport: Running}},
	} {
		if diff := cmp.Diff(c.want, ExternalLoad(c.in)); diff != "" {
			t.Errorf("ExternalLoad(%+v) (-want +got):\n%s", c.in, diff)
		}
	}
}

func TestRound(t *testing.T) {
	t.Parallel()
	for in, want := range map[float64]float64{2.675: 2.67, 0.125: 0.12, 0.375: 0.38, 1.005: 1, 7.53: 7.53, 0: 0, 1e300: 1e300} {
		if got := Round(in); got != want {
			t.Errorf("Round(%v) = %v, want %v", in, got, want)
		}
	}
}

var anyType = rapid.SampledFrom([]string{
	"Run", "Walk", "Ride", "VirtualRide", "Swim", "OpenWaterSwim", "Rowing", "Kayaking", "BackcountrySki", "WeightTraining", "",
})

func drawSession(t *rapid.T) Session {
	return Session{
		Type: anyType.Draw(t, "type"), Miles: rapid.Float64Range(0, 500).Draw(t, "miles"), Feet: rapid.Float64Range(0, 40000).Draw(t, "feet"),
		Minutes: rapid.Float64Range(0, 3000).Draw(t, "minutes"), Mph: rapid.SampledFrom([]float64{0, 11, 15, 19, 25}).Draw(t, "mph"), RPE: rapid.IntRange(-2, 12).Draw(t, "rpe"),
	}
}

func TestLoadNeverShrinks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSession(t)
		more := s
		switch rapid.SampledFrom([]string{"miles", "feet", "minutes"}).Draw(t, "grown") {
		case "miles":
			more.Miles += rapid.Float64Range(0, 100).Draw(t, "by")
		case "feet":
			more.Feet += rapid.Float64Range(0, 5000).Draw(t, "by")
		default: // a slower ride may have less load, so its speed stays the same
			more.Minutes += rapid.Float64Range(0, 500).Draw(t, "by")
			if s.Mph == 0 {
				s.Mph, more.Mph = 10, 10
			}
		}
		if less, got := ExternalLoad(s).TotalLoadMiles, ExternalLoad(more).TotalLoadMiles; got < less {
			t.Fatalf("ExternalLoad(%+v) = %v, but %v for %+v", more, got, less, s)
		}
	})
}

func TestLoadIsStorable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSession(t)
		if rapid.Bool().Draw(t, "wild") {
			s.Miles = rapid.OneOf(rapid.Float64Range(-1e9, 1e9), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1)})).Draw(t, "wild miles")
		}
		load := ExternalLoad(s)
		v := reflect.ValueOf(load)
		for i := range v.NumField() {
			field := v.Field(i)
			if field.Kind() == reflect.Pointer {
				if field.IsNil() {
					continue
				}
				field = field.Elem()
			}
			if field.Kind() != reflect.Float64 {
				continue
			}
			if x := field.Float(); !(x >= 0) || math.IsInf(x, 0) || Round(x) != x {
				t.Fatalf("ExternalLoad(%+v).%s = %v, want finite, not negative, two decimals", s, v.Type().Field(i).Name, x)
			}
		}
		sports := 0
		for _, part := range []*float64{
			load.CyclingEquivalentMiles, load.SwimmingEquivalentMiles, load.RowingEquivalentMiles,
			load.BackcountrySkiingEquivalentMiles, load.StrengthEquivalentMiles,
		} {
			if part != nil {
				sports++
			}
		}
		if want := 1; load.Sport == Running && sports != 0 || load.Sport != Running && sports != want {
			t.Fatalf("ExternalLoad(%+v) fills %d equivalents", s, sports)
		}
	})
}
