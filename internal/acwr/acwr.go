// Package acwr is the mathematics of the acute:chronic workload ratio; pure,
// standard library only.
//
// Rule: the values of a day depend on the loads of its window and on nothing
// else, bit for bit. Every window is summed anew, oldest day first: there is no
// running sum that could drift or remember where a computation began.
package acwr

import "math"

// Windows of the standard formula in calendar days, both ending on the day
// itself. A change on day d changes the values of d … d+ChronicDays−1.
const (
	AcuteDays   = 7
	ChronicDays = 28
)

// Values are the seven results of a day in the precision of their columns.
// Averages are per calendar day; loads in running-equivalent miles.
type Values struct {
	SevenDayAvgLoad        float32
	TwentyEightDayAvgLoad  float32
	SevenDayAvgTrimp       float32
	TwentyEightDayAvgTrimp float32
	AcuteChronicRatio      float32 // external: load
	TrimpAcuteChronicRatio float32 // internal: TRIMP
	NormalizedDivergence   float32
}

// Equal compares bit for bit, except that any NaN equals any other: what is
// equal need not be written.
func (v Values) Equal(other Values) bool {
	a, b := v.array(), other.array()
	for i := range a {
		if a[i] != b[i] && (a[i] == a[i] || b[i] == b[i]) {
			return false
		}
	}
	return true
}

func (v Values) array() [7]float32 {
	return [7]float32{
		v.SevenDayAvgLoad, v.TwentyEightDayAvgLoad, v.SevenDayAvgTrimp, v.TwentyEightDayAvgTrimp,
		v.AcuteChronicRatio, v.TrimpAcuteChronicRatio, v.NormalizedDivergence,
	}
}

// Standard computes the coupled rolling-average ratio: the mean of the last 7
// calendar days over the mean of the last 28, both with the day itself, days
// without an activity counting as 0 (Gabbett 2016, BJSM 50:273; the coupled
// form as in Williams 2017, BJSM 51:209). The zero value is ready and rounds
// nothing.
type Standard struct {
	Rounding Rounding

	loads, trimps [ChronicDays]float64 // by day modulo ChronicDays
	last          int                  // the newest day in the window
	started       bool
}

// Next moves the window to day, sets that day's total load and TRIMP, and
// returns its values. Days are numbers of calendar days (any epoch) and must
// ascend; days that are left out had no activity. The first call starts from an
// empty window.
func (s *Standard) Next(day int, load, trimp float64) Values {
	s.advance(day)
	slot := slotOf(day)
	s.loads[slot], s.trimps[slot] = load, trimp
	acuteLoad, chronicLoad := means(&s.loads, day)
	acuteTrimp, chronicTrimp := means(&s.trimps, day)
	return s.Rounding.values(acuteLoad, chronicLoad, acuteTrimp, chronicTrimp)
}

// Reset empties the window, for the next athlete.
func (s *Standard) Reset() { *s = Standard{Rounding: s.Rounding} }

// advance clears the slots of the days between the last one and day, which are
// the slots of days that leave the window.
func (s *Standard) advance(day int) {
	if !s.started || day-s.last >= ChronicDays {
		s.loads, s.trimps = [ChronicDays]float64{}, [ChronicDays]float64{}
	} else {
		for d := s.last + 1; d <= day; d++ {
			s.loads[slotOf(d)], s.trimps[slotOf(d)] = 0, 0
		}
	}
	s.last, s.started = day, true
}

func slotOf(day int) int { return ((day % ChronicDays) + ChronicDays) % ChronicDays }

// means returns the acute and the chronic mean of the window that ends on day.
func means(window *[ChronicDays]float64, day int) (acute, chronic float64) {
	slot := slotOf(day + 1) // the oldest day
	for i := range ChronicDays {
		x := window[slot]
		chronic += x
		if i >= ChronicDays-AcuteDays {
			acute += x
		}
		if slot++; slot == ChronicDays {
			slot = 0
		}
	}
	return acute / AcuteDays, chronic / ChronicDays
}

// ratio is acute over chronic, 0 when there is no chronic load.
func ratio(acute, chronic float64) float64 {
	if chronic == 0 {
		return 0
	}
	return acute / chronic
}

// divergence compares the external with the internal ratio: their difference
// over their mean, between −2 and 2, positive when the external one is larger;
// 0 when both are 0.
func divergence(external, internal float64) float64 {
	if external == 0 && internal == 0 {
		return 0
	}
	return (external - internal) / ((external + internal) / 2)
}

// single converts to the columns' type, real. A quiet NaN stays one.
func single(x float64) float32 {
	if math.IsNaN(x) {
		return float32(math.NaN())
	}
	return float32(x)
}
