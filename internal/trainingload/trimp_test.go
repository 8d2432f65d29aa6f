package trainingload

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTRIMP(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		minutes, avg float64
		athlete      HeartRate
		want         float64
	}{
		{60, 150, HeartRate{50, 180, Male}, 129.36},
		{60, 150, HeartRate{50, 180, Female}, 106.73},
		{45, 140, HeartRate{44, 178, Male}, 81.65},
		{60, 200, HeartRate{44, 178, Male}, 261.92},
		{60, 178, DefaultHeartRate, 261.92},
		{60, 44, DefaultHeartRate, 0},
		{60, 30, DefaultHeartRate, 0},
		{0, 150, DefaultHeartRate, 0},
		{-1, 150, DefaultHeartRate, 0},
		{60, 0, DefaultHeartRate, 0},
		{60, 150, HeartRate{178, 178, Male}, 0},
		{60, 150, HeartRate{178, 44, Male}, 0},
		{60, 150, HeartRate{0, 178, Male}, 0},
		{60, 150, HeartRate{}, 0},
		{nan, 150, DefaultHeartRate, 0},
		{60, nan, DefaultHeartRate, 0},
		{inf, 150, DefaultHeartRate, 0},
		{60, inf, DefaultHeartRate, 0},
		{60, 150, HeartRate{nan, 178, Male}, 0},
		{60, 150, HeartRate{44, inf, Male}, 0},
	} {
		if got := TRIMP(c.minutes, c.avg, c.athlete); got != c.want {
			t.Errorf("TRIMP(%v, %v, %v) = %v, want %v", c.minutes, c.avg, c.athlete, got, c.want)
		}
	}
}

func TestTRIMPNeverShrinks(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		athlete := HeartRate{rapid.Float64Range(20, 120).Draw(t, "resting"), rapid.Float64Range(121, 250).Draw(t, "max"), rapid.SampledFrom([]Gender{Male, Female}).Draw(t, "gender")}
		minutes, avg := rapid.Float64Range(0, 3000).Draw(t, "minutes"), rapid.Float64Range(0, 300).Draw(t, "avg")
		base := TRIMP(minutes, avg, athlete)
		if !(base >= 0) || math.IsInf(base, 0) {
			t.Fatalf("TRIMP(%v, %v, %v) = %v", minutes, avg, athlete, base)
		}
		grown := rapid.Float64Range(0, 100).Draw(t, "grown")
		if longer := TRIMP(minutes+grown, avg, athlete); longer < base {
			t.Fatalf("TRIMP(%v, %v, %v) = %v, below %v for %v minutes", minutes+grown, avg, athlete, longer, base, minutes)
		}
		if harder := TRIMP(minutes, avg+grown, athlete); harder < base {
			t.Fatalf("TRIMP(%v, %v, %v) = %v, below %v for heart rate %v", minutes, avg+grown, athlete, harder, base, avg)
		}
	})
}

func TestParseGender(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Gender{"M": Male, "m": Male, "male": Male, "Male": Male, "F": Female, "f": Female, "FEMALE": Female} {
		if got, err := ParseGender(in); got != want || err != nil {
			t.Errorf("ParseGender(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"", "x", " male", "woman"} {
		if got, err := ParseGender(in); err == nil {
			t.Errorf("ParseGender(%q) = %q, want an error", in, got)
		}
	}
}

func TestHeartRateValidate(t *testing.T) {
	t.Parallel()
	if got, want := (HeartRate{}).WithDefaults(), (HeartRate{44, 178, Male}); got != want {
		t.Errorf("WithDefaults() = %v, want %v", got, want)
	}
	if got, want := (HeartRate{60, 0, Female}).WithDefaults(), (HeartRate{60, 178, Female}); got != want {
		t.Errorf("WithDefaults() = %v, want %v", got, want)
	}
	for _, c := range []struct {
		in   HeartRate
		want string // empty: valid
	}{
		{DefaultHeartRate, ""},
		{HeartRate{30, 220, Female}, ""},
		{HeartRate{}, "resting heart rate must lie between 20 and 120, got 0"},
		{HeartRate{10, 178, Male}, "got 10"},
		{HeartRate{44, 300, Male}, "maximum heart rate must lie between 80 and 250, got 300"},
		{HeartRate{110, 90, Male}, "above the resting one, got 90 and 110"},
		{HeartRate{100, 100, Male}, "above the resting one"},
		{HeartRate{44, 178, "x"}, `gender must be male or female, got "x"`},
		{HeartRate{math.NaN(), 178, Male}, "got NaN"},
		{HeartRate{44, math.Inf(1), Male}, "got +Inf"},
	} {
		err := c.in.Validate()
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%v.Validate() = %v, want nil", c.in, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%v.Validate() = %v, want %q", c.in, err, c.want)
		}
	}
}
