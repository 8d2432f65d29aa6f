// Package acwr computes the acute:chronic workload ratio. It is pure and uses
// only the standard library.
//
// Rule: the values of a day depend, bit for bit, only on the loads of its window.
// Every window is summed anew, activity by activity in the order of date and id:
// a running sum would drift and depend on where the computation began.
package acwr

import "math"

// acuteDays is the acute window of every formula, in calendar days, ending on
// the day itself.
const acuteDays = 7

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

// Columns are the names of the columns, in the order of Array.
var Columns = [7]string{
	"seven_day_avg_load", "twentyeight_day_avg_load", "seven_day_avg_trimp", "twentyeight_day_avg_trimp",
	"acute_chronic_ratio", "trimp_acute_chronic_ratio", "normalized_divergence",
}

// Array returns the values in the order of Columns.
func (v Values) Array() [7]float32 {
	return [7]float32{
		v.SevenDayAvgLoad, v.TwentyEightDayAvgLoad, v.SevenDayAvgTrimp, v.TwentyEightDayAvgTrimp,
		v.AcuteChronicRatio, v.TrimpAcuteChronicRatio, v.NormalizedDivergence,
	}
}

// Same reports whether two results are equal, so that neither need be written.
// NaNs are equal.
func Same(a, b float32) bool { return a == b || a != a && b != b }

// Activity has the load and the TRIMP of one activity, in the precision of
// their columns and 0 for NULL.
type Activity struct{ Load, Trimp float32 }

// Calculator computes the values of one athlete's days, one after the other.
type Calculator struct {
	rounding Rounding

	load, trimp   measure
	loads, trimps []float64 // of the newest day
}

// NewCalculator returns a calculator with an empty window. The settings must be valid.
func NewCalculator(s Settings, r Rounding) *Calculator {
	return &Calculator{rounding: r, load: newMeasure(s), trimp: newMeasure(s)}
}

// Next advances to day and returns its values. activities must be in the order
// of their ids. Days are numbers of calendar days (any epoch) and must ascend;
// days left out had no activity. The first call starts from an empty window.
func (c *Calculator) Next(day int, activities ...Activity) Values {
	c.loads, c.trimps = c.loads[:0], c.trimps[:0]
	for _, a := range activities {
		c.loads = append(c.loads, c.rounding.read(a.Load))
		c.trimps = append(c.trimps, c.rounding.read(a.Trimp))
	}
	c.load.next(day, c.loads)
	c.trimp.next(day, c.trimps)
	acuteLoad, chronicLoad := c.load.means()
	acuteTrimp, chronicTrimp := c.trimp.means()
	return c.rounding.values(acuteLoad, chronicLoad, acuteTrimp, chronicTrimp)
}

// Reset empties the window, for the next athlete.
func (c *Calculator) Reset() {
	c.load.reset()
	c.trimp.reset()
}

// ratio is acute over chronic, 0 without a chronic load.
func ratio(acute, chronic float64) float64 {
	if chronic == 0 {
		return 0
	}
	return acute / chronic
}

// divergence compares the external with the internal ratio: their difference over their
// mean, between −2 and 2, positive when the external one is larger; 0 when both are 0.
func divergence(external, internal float64) float64 {
	if external == 0 && internal == 0 {
		return 0
	}
	return (external - internal) / ((external + internal) / 2)
}

// single converts to the columns' type, real. A NaN becomes a quiet NaN.
func single(x float64) float32 {
	if math.IsNaN(x) {
		return float32(math.NaN())
	}
	return float32(x)
}
