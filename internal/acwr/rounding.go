package acwr

import (
	"fmt"
	"strconv"
)

// Rounding is how results are rounded before they are stored.
type Rounding int

const (
	// RoundNone stores the float64 results unrounded, in single precision.
	RoundNone Rounding = iota
	// RoundApp reproduces the application bit for bit. Loads are read as
	// Decimal, as by a client that receives text. Averages are rounded to 2
	// decimals, ratios are computed from rounded averages and rounded to 2, the
	// divergence is computed from rounded ratios and rounded to 3.
	RoundApp
)

// ParseRounding reads "none" or "app".
func ParseRounding(s string) (Rounding, error) {
	switch s {
	case "none":
		return RoundNone, nil
	case "app":
		return RoundApp, nil
	}
	return RoundNone, fmt.Errorf("rounding must be none or app, got %q", s)
}

// String returns the name that ParseRounding reads.
func (r Rounding) String() string {
	if r == RoundApp {
		return "app"
	}
	return "none"
}

// read widens a load. The real nearest to 3.3 is 3.2999999523162842 without
// rounding, and 3.3 to the application.
func (r Rounding) read(x float32) float64 {
	if r == RoundNone {
		return float64(x)
	}
	return Decimal(x)
}

// Decimal returns the shortest decimal that identifies a value of type real.
func Decimal(x float32) float64 {
	decimal, _ := strconv.ParseFloat(strconv.FormatFloat(float64(x), 'g', -1, 32), 64) // no error: formatted numbers always parse
	return decimal
}

// values derives the seven results from the four means.
func (r Rounding) values(acuteLoad, chronicLoad, acuteTrimp, chronicTrimp float64) Values {
	acuteLoad, chronicLoad = r.round(acuteLoad, 2), r.round(chronicLoad, 2)
	acuteTrimp, chronicTrimp = r.round(acuteTrimp, 2), r.round(chronicTrimp, 2)
	external, internal := r.round(ratio(acuteLoad, chronicLoad), 2), r.round(ratio(acuteTrimp, chronicTrimp), 2)
	diverging := r.round(divergence(external, internal), 3)
	return Values{
		SevenDayAvgLoad:        single(acuteLoad),
		TwentyEightDayAvgLoad:  single(chronicLoad),
		SevenDayAvgTrimp:       single(acuteTrimp),
		TwentyEightDayAvgTrimp: single(chronicTrimp),
		AcuteChronicRatio:      single(external),
		TrimpAcuteChronicRatio: single(internal),
		NormalizedDivergence:   single(diverging),
	}
}

func (r Rounding) round(x float64, decimals int) float64 {
	if r == RoundNone {
		return x
	}
	return roundHalfEven(x, decimals)
}

// roundHalfEven rounds as Python's round does: half to even, on the exact value
// of the binary double. Scaling by a power of ten would not: the double 2.675
// is below 2.675, but 2.675·100 is not below 267.5.
func roundHalfEven(x float64, decimals int) float64 {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'f', decimals, 64), 64)
	return rounded
}
