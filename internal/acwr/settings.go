package acwr

import (
	"errors"
	"fmt"
	"math"
)

// Formula is how the chronic mean, and for EWMA also the acute one, is computed
// from daily loads.
type Formula string

const (
	// Standard is the coupled rolling average: the mean of the last 7 calendar
	// days over the mean of the last 28 (or ChronicDays), both including the
	// day itself; days without an activity count as 0 (Gabbett 2016, BJSM
	// 50:273; the coupled form as in Williams 2017, BJSM 51:209).
	Standard Formula = "standard"
	// Uncoupled leaves the acute days out of the chronic mean: 7 days over the 21 before
	// them (Lolli 2017, BJSM 53:921; Windt and Gabbett 2019, BJSM 53:988). For 7 and 28
	// days the coupled ratio C and the uncoupled U satisfy C = 4U/(U+3).
	Uncoupled Formula = "uncoupled"
	// EWMA is the ratio of exponentially weighted moving averages with λ = 2/(N+1) for N of
	// 7 and of the chronic days (Williams 2017, BJSM 51:209). It starts at the first load
	// other than 0, so that rest days before it change nothing.
	EWMA Formula = "ewma"
	// Decay weighs the chronic days by e^(−k·age): the application's "enhanced" formula,
	// but with one weight per calendar day, rest days counting as 0, where the application
	// has one per row. The acute mean is that of Standard.
	Decay Formula = "decay"
)

// Limits of Settings, as in the application.
const (
	minChronicDays, maxChronicDays = 28, 90
	minDecayRate, maxDecayRate     = 0.01, 0.20
)

// Settings choose an athlete's formula.
type Settings struct {
	Formula     Formula
	ChronicDays int     // 28 … 90
	DecayRate   float64 // k of Decay, a day: 0.01 … 0.20
}

// DefaultSettings returns the settings of nearly all athletes.
func DefaultSettings() Settings {
	return Settings{Formula: Standard, ChronicDays: 28, DecayRate: 0.05}
}

// Validate reports every fault of the settings at once, or nil.
func (s Settings) Validate() error {
	var faults []error
	switch s.Formula {
	case Standard, Uncoupled, EWMA, Decay:
	default:
		faults = append(faults, fmt.Errorf("formula must be standard, uncoupled, ewma or decay, got %q", s.Formula))
	}
	if s.ChronicDays < minChronicDays || s.ChronicDays > maxChronicDays {
		faults = append(faults, fmt.Errorf("chronic days must be %d to %d, got %d", minChronicDays, maxChronicDays, s.ChronicDays))
	}
	if !(s.DecayRate >= minDecayRate && s.DecayRate <= maxDecayRate) { // written so that NaN is refused
		faults = append(faults, fmt.Errorf("decay rate must be %.2f to %.2f, got %v", minDecayRate, maxDecayRate, s.DecayRate))
	}
	return errors.Join(faults...)
}

// Unbounded is the reach of a formula in which a day never stops counting.
const Unbounded = math.MaxInt32

// Reach returns the number of days, including the day itself, whose values
// depend on a day's load, or Unbounded.
func (s Settings) Reach() int {
	if s.Formula == EWMA {
		return Unbounded
	}
	return s.ChronicDays
}

// decayFactor is e^(−k), by its Taylor series in Horner's form: basic
// arithmetic gives the same bits on every machine.
func decayFactor(k float64) float64 {
	r := 1.0
	for n := 20.0; n >= 1; n-- {
		r = 1 - float64(k/n*r)
	}
	return r
}
