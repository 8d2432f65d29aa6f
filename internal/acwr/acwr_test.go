package acwr

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// day is the only activity of a day in the worked cases.
type day = Activity

func repeated(n int, d day) []day {
	days := make([]day, n)
	for i := range days {
		days[i] = d
	}
	return days
}

func valuesOn(last int, days []day, r Rounding) Values {
	s := NewCalculator(DefaultSettings(), r)
	var v Values
	for i := 0; i <= last; i++ {
		v = s.Next(i, days[i])
	}
	return v
}

// TestStandardWorkedCases has the application's worked cases, with its rounding.
func TestStandardWorkedCases(t *testing.T) {
	t.Parallel()
	extra := repeated(80, day{5, 50})
	const l = 40
	extra[l] = day{15, 150}
	cases := []struct {
		name string
		days []day
		on   int
		want Values
	}{
		{"steady", repeated(42, day{10, 80}), 41, Values{10, 10, 80, 80, 1, 1, 0}},
		{"only the last week", append(repeated(35, day{}), repeated(7, day{10, 80})...), 41, Values{10, 2.5, 80, 20, 4, 4, 0}},
		{"one row today", []day{{10, 8}}, 0, Values{1.43, 0.36, 1.14, 0.29, 3.97, 3.93, 0.01}},
		{"two rows a day", repeated(42, day{3 + 3, 30 + 30}), 41, Values{6, 6, 60, 60, 1, 1, 0}},
		{"doubled last week", append(repeated(35, day{6, 60}), repeated(7, day{12, 120})...), 41, Values{12, 7.5, 120, 75, 1.6, 1.6, 0}},
		{"easier last week", append(repeated(35, day{6, 60}), repeated(7, day{3, 45})...), 41, Values{3, 5.25, 45, 56.25, 0.57, 0.80, -0.336}},
		{"no heart rate", repeated(42, day{5, 0}), 41, Values{5, 5, 0, 0, 1, 0, 2}},
		{"extra: the day before", extra, l - 1, Values{5, 5, 50, 50, 1, 1, 0}},
		{"extra: the day itself", extra, l, Values{6.43, 5.36, 64.29, 53.57, 1.2, 1.2, 0}},
		{"extra: last day of the week", extra, l + 6, Values{6.43, 5.36, 64.29, 53.57, 1.2, 1.2, 0}},
		{"extra: after the week", extra, l + 7, Values{5, 5.36, 50, 53.57, 0.93, 0.93, 0}},
		{"extra: last day of the window", extra, l + 27, Values{5, 5.36, 50, 53.57, 0.93, 0.93, 0}},
		{"extra: after the window", extra, l + 28, Values{5, 5, 50, 50, 1, 1, 0}},
		{"one row of 1/1", []day{{1, 1}}, 0, Values{0.14, 0.04, 0.14, 0.04, 3.5, 3.5, 0}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := valuesOn(c.on, c.days, RoundApp); got != c.want {
				t.Errorf("values on day %d = %+v, want %+v", c.on, got, c.want)
			}
		})
	}
	if got := valuesOn(0, []day{{1, 1}}, RoundNone).AcuteChronicRatio; got != 4 {
		t.Errorf("unrounded ratio of one row = %v, want 4", got)
	}
}

// TestRoundingReadsDecimals has cases whose last digit depends on how a real is converted
// to a double, and on the order in which loads are added. The values are Python's.
func TestRoundingReadsDecimals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		days          [][]Activity
		chronic, none float32
	}{
		"a real":           {[][]Activity{{{7.7, 0}}}, 0.28, 0.275},
		"one after other":  {[][]Activity{{{0.2, 0}}, {{1.4, 0}, {6.1, 0}}}, 0.27, 0.275},
		"in another order": {[][]Activity{{{1.4, 0}, {6.1, 0}}, {{0.2, 0}}}, 0.28, 0.275},
	} {
		exactly, rounding := NewCalculator(DefaultSettings(), RoundNone), NewCalculator(DefaultSettings(), RoundApp)
		var app, none Values
		for day, activities := range c.days {
			app, none = rounding.Next(day, activities...), exactly.Next(day, activities...)
		}
		if app.TwentyEightDayAvgLoad != c.chronic || none.TwentyEightDayAvgLoad != c.none {
			t.Errorf("%s: 28-day averages %v, without rounding %v, want %v and %v", name, app.TwentyEightDayAvgLoad, none.TwentyEightDayAvgLoad, c.chronic, c.none)
		}
	}
}

func TestRoundHalfEvenMatchesPython(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		x        float64
		decimals int
		want     float64
	}{
		{2.675, 2, 2.67}, {0.125, 2, 0.12}, {0.375, 2, 0.38}, {-0.125, 2, -0.12}, {1e300, 2, 1e300}, {-0.3364, 3, -0.336},
	} {
		if got := roundHalfEven(c.x, c.decimals); got != c.want {
			t.Errorf("roundHalfEven(%v, %d) = %v, want %v", c.x, c.decimals, got, c.want)
		}
	}
}

func TestStandardProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loads, trimps := map[int]float64{}, map[int]float64{}
		var days []int
		for d := rapid.IntRange(-800, 800).Draw(t, "first"); len(days) < 60; d += rapid.IntRange(1, 40).Draw(t, "gap") {
			days = append(days, d)
			loads[d] = float64(rapid.Float32Range(0, 100).Draw(t, "load"))
			trimps[d] = float64(rapid.Float32Range(0, 300).Draw(t, "trimp"))
		}
		s := NewCalculator(DefaultSettings(), RoundNone)
		for i, d := range days {
			got := s.Next(d, Activity{float32(loads[d]), float32(trimps[d])})
			acute, chronic := bruteForce(DefaultSettings(), loads, d)
			if got.SevenDayAvgLoad != float32(acute) || got.TwentyEightDayAvgLoad != float32(chronic) {
				t.Fatalf("day %d: averages %v, %v, want %v, %v", d, got.SevenDayAvgLoad, got.TwentyEightDayAvgLoad, acute, chronic)
			}
			if r := got.AcuteChronicRatio; r < 0 || r > 4 {
				t.Fatalf("day %d: ratio %v lies outside [0, 4]", d, r)
			}
			// The values must not depend on where the computation began, once the
			// window is covered.
			late := NewCalculator(DefaultSettings(), RoundNone)
			var fromLater Values
			for _, e := range days[:i+1] {
				if e > d-28 {
					fromLater = late.Next(e, Activity{float32(loads[e]), float32(trimps[e])})
				}
			}
			if fromLater != got {
				t.Fatalf("day %d: started later %+v, want %+v", d, fromLater, got)
			}
		}
	})
}

func TestSameAcceptsNaN(t *testing.T) {
	t.Parallel()
	nan := float32(math.NaN())
	if !Same(nan, nan) {
		t.Error("a stored NaN does not equal itself, so it would always be rewritten")
	}
	if Same(nan, 0) || Same(0, nan) {
		t.Error("NaN equals 0")
	}
}

func BenchmarkNext(b *testing.B) {
	for _, formula := range []Formula{Standard, Uncoupled, EWMA, Decay} {
		for _, rounding := range []Rounding{RoundNone, RoundApp} {
			b.Run(fmt.Sprintf("%s/%v", formula, rounding), func(b *testing.B) {
				settings := DefaultSettings()
				settings.Formula = formula
				c := NewCalculator(settings, rounding)
				b.ReportAllocs()
				for day := 0; b.Loop(); day++ {
					c.Next(day, Activity{float32(day%80) / 8, float32(day % 200)})
				}
			})
		}
	}
}
