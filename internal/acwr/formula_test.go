package acwr

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"pgregory.net/rapid"
)

// TestMenaspa checks three athletes whose weeks differ but whose averages do
// not (Menaspà 2017, BJSM 51:618) against the published ratios of day 28.
func TestMenaspa(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/menaspa.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Athletes []struct {
			ID   int       `json:"id"`
			Load []float32 `json:"load"`
		} `json:"athletes"`
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	for formula, want := range map[Formula][3]string{
		Standard:  {"1.4286", "1.4286", "1.4286"},
		Uncoupled: {"1.6667", "1.6667", "1.6667"},
		EWMA:      {"1.2497", "1.4062", "1.5507"},
	} {
		if len(vectors.Athletes) != 3 {
			t.Fatalf("testdata has %d athletes, want 3", len(vectors.Athletes))
		}
		for i, athlete := range vectors.Athletes {
			settings := DefaultSettings()
			settings.Formula = formula
			c := NewCalculator(settings, RoundNone)
			var last Values
			for day, load := range athlete.Load {
				last = c.Next(day, Activity{load, 0})
			}
			if got := fmt.Sprintf("%.4f", last.AcuteChronicRatio); len(athlete.Load) != 28 || got != want[i] {
				t.Errorf("athlete %d, %s: ratio on day %d = %s, want %s on day 28", athlete.ID, formula, len(athlete.Load), got, want[i])
			}
		}
	}
}

// bruteForce computes the means of a day directly from the definitions.
func bruteForce(s Settings, loads map[int]float64, on int) (acute, chronic float64) {
	sum := func(from, to int, weight func(age int) float64) (total float64) {
		for d := from; d <= to; d++ {
			total += loads[d] * weight(on-d)
		}
		return total
	}
	one := func(int) float64 { return 1 }
	n := s.ChronicDays
	acute = sum(on-6, on, one) / 7
	switch s.Formula {
	case Standard:
		return acute, sum(on-n+1, on, one) / float64(n)
	case Uncoupled:
		return acute, sum(on-n+1, on-7, one) / float64(n-7)
	case Decay:
		weight := func(age int) float64 { return math.Exp(-s.DecayRate * float64(age)) }
		weights := 0.0
		for age := range n {
			weights += weight(age)
		}
		return acute, sum(on-n+1, on, weight) / weights
	}
	first := math.MaxInt
	for d, load := range loads {
		if load != 0 && d < first {
			first = d
		}
	}
	if first > on {
		return 0, 0
	}
	average := func(n float64) float64 {
		x := loads[first]
		for d := first + 1; d <= on; d++ {
			x += (loads[d] - x) * 2 / (n + 1)
		}
		return x
	}
	return average(7), average(float64(n))
}

func anySettings(t *rapid.T) Settings {
	return Settings{
		Formula:     rapid.SampledFrom([]Formula{Standard, Uncoupled, EWMA, Decay}).Draw(t, "formula"),
		ChronicDays: rapid.IntRange(28, 90).Draw(t, "chronic days"),
		DecayRate:   rapid.Float64Range(0.01, 0.20).Draw(t, "decay rate"),
	}
}

// nearlyEqual allows for sums whose last bits depend on the order of addition.
func nearlyEqual(got float32, want float64) bool {
	return math.Abs(float64(got)-want) <= 1e-6*math.Max(math.Abs(want), 1e-3)
}

// both is an activity whose load and TRIMP are the same.
func both(x float64) Activity { return Activity{float32(x), float32(x)} }

func TestEveryFormulaMatchesItsDefinition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		settings := anySettings(t)
		if err := settings.Validate(); err != nil {
			t.Fatal(err)
		}
		c, withRestDays := NewCalculator(settings, RoundNone), NewCalculator(settings, RoundNone)
		c.Next(-5000, Activity{3, 4}) // another athlete's
		c.Reset()
		loads := map[int]float64{}
		day := rapid.IntRange(-800, 800).Draw(t, "first")
		for range rapid.IntRange(1, 50).Draw(t, "days") {
			loads[day] = float64(rapid.IntRange(0, 80).Draw(t, "load")) / 4
			got := c.Next(day, both(loads[day]))
			acute, chronic := bruteForce(settings, loads, day)
			if !nearlyEqual(got.SevenDayAvgLoad, acute) || !nearlyEqual(got.TwentyEightDayAvgLoad, chronic) {
				t.Fatalf("%+v, day %d: averages %v, %v, want %v, %v", settings, day, got.SevenDayAvgLoad, got.TwentyEightDayAvgLoad, acute, chronic)
			}
			if got.TrimpAcuteChronicRatio != got.AcuteChronicRatio || got.NormalizedDivergence != 0 {
				t.Fatalf("equal loads and TRIMP give %+v", got)
			}
			if other := withRestDays.Next(day, both(loads[day])); other != got {
				t.Fatalf("%+v, day %d: with rows for rest days %+v, without %+v", settings, day, other, got)
			}
			gap := rapid.IntRange(1, 60).Draw(t, "gap")
			for rest := day + 1; rest < day+gap; rest++ {
				withRestDays.Next(rest, Activity{})
			}
			day += gap
		}
	})
}

func TestCoupledAndUncoupledAreTied(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		coupled := NewCalculator(DefaultSettings(), RoundNone)
		uncoupled := NewCalculator(Settings{Uncoupled, 28, 0.05}, RoundNone)
		for day := range 60 {
			load := float64(rapid.IntRange(1, 80).Draw(t, "load")) / 4
			c, u := coupled.Next(day, Activity{float32(load), 0}), uncoupled.Next(day, Activity{float32(load), 0})
			if day < 28 {
				continue
			}
			if want := 4 * float64(u.AcuteChronicRatio) / (float64(u.AcuteChronicRatio) + 3); !nearlyEqual(c.AcuteChronicRatio, want) {
				t.Fatalf("day %d: coupled %v, want 4U/(U+3) = %v", day, c.AcuteChronicRatio, want)
			}
		}
	})
}

func TestConstantLoadGivesOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		settings := anySettings(t)
		load := float64(rapid.IntRange(1, 400).Draw(t, "load")) / 4
		c := NewCalculator(settings, RoundNone)
		for day := range 200 {
			got := c.Next(day, both(load)).AcuteChronicRatio
			if full := settings.Formula == EWMA || day >= settings.ChronicDays-1; full && !nearlyEqual(got, 1) {
				t.Fatalf("%+v, day %d: ratio %v, want 1", settings, day, got)
			}
		}
	})
}

// TestLongRestEnds: after centuries without load the averages are 0, and are computed
// quickly.
func TestLongRestEnds(t *testing.T) {
	t.Parallel()
	c := NewCalculator(Settings{EWMA, 90, 0.05}, RoundNone)
	c.Next(0, both(10))
	if got := c.Next(math.MaxInt32); got.SevenDayAvgLoad != 0 || got.TwentyEightDayAvgTrimp != 0 {
		t.Errorf("values after a very long rest = %+v, want averages of 0", got)
	}
}

func TestSettingsAreValidated(t *testing.T) {
	t.Parallel()
	for _, s := range []Settings{
		{"", 28, 0.05},
		{"median", 28, 0.05},
		{Standard, 27, 0.05},
		{Standard, 91, 0.05},
		{Decay, 28, 0.009},
		{Decay, 28, 0.21},
		{Decay, 28, math.NaN()},
	} {
		if s.Validate() == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
	if days := (Settings{Decay, 42, 0.05}).Reach(); days != 42 {
		t.Errorf("reach = %d days, want 42", days)
	}
}
