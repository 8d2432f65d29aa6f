package trainingload

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"
)

// Gender selects the exponent of TRIMP, which Banister fitted separately for men and women.
type Gender string

// The genders for which TRIMP was fitted.
const (
	Male   Gender = "male"
	Female Gender = "female"
)

// ParseGender reads M, F, male or female in any case; the application's user
// table has both spellings.
func ParseGender(s string) (Gender, error) {
	switch strings.ToLower(s) {
	case "m", "male":
		return Male, nil
	case "f", "female":
		return Female, nil
	}
	return "", fmt.Errorf("gender must be M, F, male or female, got %q", s)
}

// HeartRate has an athlete's values for TRIMP, in beats a minute.
type HeartRate struct {
	Resting float64
	Max     float64
	Gender  Gender
}

// DefaultHeartRate is the application's default for a user who has entered none.
var DefaultHeartRate = HeartRate{Resting: 44, Max: 178, Gender: Male}

// WithDefaults fills every zero field from DefaultHeartRate.
func (h HeartRate) WithDefaults() HeartRate {
	h.Resting = cmp.Or(h.Resting, DefaultHeartRate.Resting)
	h.Max = cmp.Or(h.Max, DefaultHeartRate.Max)
	h.Gender = cmp.Or(h.Gender, DefaultHeartRate.Gender)
	return h
}

// Limits of a plausible heart rate, wide enough for any athlete and narrow
// enough to detect swapped values.
const (
	minResting, maxResting = 20, 120
	minMax, maxMax         = 80, 250
)

// Validate reports every fault of the settings at once, or nil.
func (h HeartRate) Validate() error {
	var faults []string
	if !(h.Resting >= minResting && h.Resting <= maxResting) {
		faults = append(faults, fmt.Sprintf("resting heart rate must lie between %d and %d, got %v", minResting, maxResting, h.Resting))
	}
	if !(h.Max >= minMax && h.Max <= maxMax) {
		faults = append(faults, fmt.Sprintf("maximum heart rate must lie between %d and %d, got %v", minMax, maxMax, h.Max))
	}
	if h.Max <= h.Resting {
		faults = append(faults, fmt.Sprintf("maximum heart rate must be above the resting one, got %v and %v", h.Max, h.Resting))
	}
	if h.Gender != Male && h.Gender != Female {
		faults = append(faults, fmt.Sprintf("gender must be male or female, got %q", h.Gender))
	}
	if len(faults) == 0 {
		return nil
	}
	return errors.New(strings.Join(faults, "; "))
}

// TRIMP is the training impulse of Banister (1991) from an average heart rate:
//
//	minutes × r × 0.64 × e^(k·r), r = (avgHR − resting)/(max − resting) clamped to 0…1
//
// with k = 1.92 for men and 1.67 for women, rounded to two decimals. It is 0
// without a duration, a heart rate or a heart-rate reserve.
func TRIMP(minutes, avgHR float64, athlete HeartRate) float64 {
	for _, needed := range []float64{minutes, avgHR, athlete.Resting, athlete.Max, athlete.Max - athlete.Resting} {
		if quantity(needed) == 0 {
			return 0
		}
	}
	k := 1.92
	if athlete.Gender == Female {
		k = 1.67
	}
	reserve := (avgHR - athlete.Resting) / (athlete.Max - athlete.Resting)
	reserve = math.Min(math.Max(reserve, 0), 1)
	return Round(minutes * reserve * 0.64 * math.Exp(k*reserve))
}
