// Package trainingload computes the two training loads of an activity: the
// external load in running-equivalent miles, and the internal load, Banister's
// TRIMP. It is pure and uses only the standard library.
//
// Rule: the results equal the application's. A load is summed from unrounded
// parts and rounded once, as Python's round does, so that rows written by
// either agree to the last stored digit.
package trainingload

import "strconv"

// Conversions from metres to the units of the database, with the application's digits.
const (
	milesPerMetre = 0.000621371
	feetPerMetre  = 3.28084
)

// Miles converts a distance in metres.
func Miles(metres float64) float64 { return metres * milesPerMetre }

// Feet converts a height in metres.
func Feet(metres float64) float64 { return metres * feetPerMetre }

// Round rounds to the two decimals that are stored: half to even, on the exact value of the
// binary double, so 2.675 becomes 2.67. Scaling by 100 and rounding would give 2.68.
func Round(x float64) float64 {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'f', 2, 64), 64) // no error: formatted numbers always parse
	return rounded
}
