// Package trainingload turns one activity into its two training loads: the
// external load in running-equivalent miles and the internal load, Banister's
// TRIMP; pure, standard library only.
//
// Rule: the results equal the application's. A load is summed from unrounded
// parts and rounded once, as Python's round does, so that a row written here
// and a row written there agree to the last stored digit.
package trainingload

import "strconv"

// Metres to the units of the database, to the digits that the application uses.
const (
	milesPerMetre = 0.000621371
	feetPerMetre  = 3.28084
)

// Miles converts a distance in metres.
func Miles(metres float64) float64 { return metres * milesPerMetre }

// Feet converts a height in metres.
func Feet(metres float64) float64 { return metres * feetPerMetre }

// Round rounds to the two decimals that are stored: correctly, half to even, on
// the exact value of the binary double, so 2.675 becomes 2.67. Scaling by 100
// and rounding would give 2.68.
func Round(x float64) float64 {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'f', 2, 64), 64) // which reads whatever is formatted
	return rounded
}
