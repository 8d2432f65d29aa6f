package activityfile

import (
	"cmp"

	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
)

// methodAverage is the application's trimp_calculation_method for a TRIMP from
// the average heart rate.
const methodAverage = "average"

// complete computes the loads that an activity lacks, and never replaces a stated one.
func complete(a *jobs.Activity, o Options) error {
	if a.TotalLoadMiles == nil {
		completeExternal(a)
	}
	if a.Trimp == nil && a.AvgHeartRate != nil && a.DurationMinutes != nil {
		athlete, err := o.heartRate(a.UserID)
		if err != nil {
			return err
		}
		if athlete != (trainingload.HeartRate{}) {
			a.Trimp = new(trainingload.TRIMP(*a.DurationMinutes, *a.AvgHeartRate, athlete))
			a.TrimpCalculationMethod = cmp.Or(a.TrimpCalculationMethod, new(methodAverage))
		}
	}
	return nil
}

func completeExternal(a *jobs.Activity) {
	session := trainingload.Session{
		Type:    value(a.Type),
		Sport:   trainingload.Sport(value(a.SportType)),
		Miles:   value(a.DistanceMiles),
		Feet:    value(a.ElevationGainFeet),
		Minutes: value(a.DurationMinutes),
		Mph:     value(a.AverageSpeedMph),
		RPE:     int(value(a.StrengthRPE)),
	}
	load := trainingload.ExternalLoad(session)
	measured := a.DistanceMiles
	if load.Sport == trainingload.Strength {
		measured = a.DurationMinutes
	}
	if measured == nil {
		return // a load of 0 would mean that there was none
	}
	a.TotalLoadMiles = &load.TotalLoadMiles
	setLoad(a, load)
}

// setLoad fills in the missing columns besides the total load.
func setLoad(a *jobs.Activity, load trainingload.Load) {
	a.SportType = cmp.Or(a.SportType, new(string(load.Sport)))
	a.ElevationLoadMiles = cmp.Or(a.ElevationLoadMiles, &load.ElevationLoadMiles)
	a.AverageSpeedMph = cmp.Or(a.AverageSpeedMph, load.AverageSpeedMph)
	a.CyclingEquivalentMiles = cmp.Or(a.CyclingEquivalentMiles, load.CyclingEquivalentMiles)
	a.CyclingElevationFactor = cmp.Or(a.CyclingElevationFactor, load.CyclingElevationFactor)
	a.SwimmingEquivalentMiles = cmp.Or(a.SwimmingEquivalentMiles, load.SwimmingEquivalentMiles)
	a.RowingEquivalentMiles = cmp.Or(a.RowingEquivalentMiles, load.RowingEquivalentMiles)
	a.BackcountrySkiingEquivalentMiles = cmp.Or(a.BackcountrySkiingEquivalentMiles, load.BackcountrySkiingEquivalentMiles)
	a.StrengthEquivalentMiles = cmp.Or(a.StrengthEquivalentMiles, load.StrengthEquivalentMiles)
}

// value returns what p points to, or the zero value for nil.
func value[T any](p *T) T { return *cmp.Or(p, new(T)) }
