package activityfile

import (
	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
)

// methodAverage is the application's trimp_calculation_method for a TRIMP from
// the average heart rate.
const methodAverage = "average"

// complete computes the loads that an activity does not state. What it states
// is never replaced.
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
			a.Trimp = ptr(trainingload.TRIMP(*a.DurationMinutes, *a.AvgHeartRate, athlete))
			setDefault(&a.TrimpCalculationMethod, ptr(methodAverage))
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
		return // a load of 0 would say that there was none
	}
	a.TotalLoadMiles = &load.TotalLoadMiles
	setLoad(a, load)
}

// setLoad fills the columns beside the total load that are still empty.
func setLoad(a *jobs.Activity, load trainingload.Load) {
	setDefault(&a.SportType, ptr(string(load.Sport)))
	setDefault(&a.ElevationLoadMiles, &load.ElevationLoadMiles)
	setDefault(&a.AverageSpeedMph, load.AverageSpeedMph)
	setDefault(&a.CyclingEquivalentMiles, load.CyclingEquivalentMiles)
	setDefault(&a.CyclingElevationFactor, load.CyclingElevationFactor)
	setDefault(&a.SwimmingEquivalentMiles, load.SwimmingEquivalentMiles)
	setDefault(&a.RowingEquivalentMiles, load.RowingEquivalentMiles)
	setDefault(&a.BackcountrySkiingEquivalentMiles, load.BackcountrySkiingEquivalentMiles)
	setDefault(&a.StrengthEquivalentMiles, load.StrengthEquivalentMiles)
}

func setDefault[T any](field **T, fallback *T) {
	if *field == nil {
		*field = fallback
	}
}

func ptr[T any](v T) *T { return &v }

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
