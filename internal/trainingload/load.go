package trainingload

import "math"

// Session has the quantities from which the external load is computed. An
// absent quantity is zero; a negative, infinite or NaN one counts as absent.
type Session struct {
	Type    string  // provider's activity type, "TrailRun"
	Sport   Sport   // zero: ParseSport(Type)
	Miles   float64 // distance
	Feet    float64 // elevation gain
	Minutes float64 // moving time
	Mph     float64 // average speed; zero: Miles over Minutes, if that is finite
	RPE     int     // rate of perceived exertion of strength training, 1 to 10
}

// Load is an external load with the parts stored beside it, all rounded to two decimals and
// named after their columns. A nil part does not apply to the sport.
type Load struct {
	Sport              Sport
	DistanceMiles      float64
	ElevationGainFeet  float64
	ElevationLoadMiles float64
	TotalLoadMiles     float64 // running-equivalent miles

	AverageSpeedMph                  *float64
	CyclingEquivalentMiles           *float64 // distance alone, without elevation
	CyclingElevationFactor           *float64 // feet of elevation that load as much as one mile
	SwimmingEquivalentMiles          *float64
	RowingEquivalentMiles            *float64
	BackcountrySkiingEquivalentMiles *float64 // distance and elevation
	StrengthEquivalentMiles          *float64
}

// Feet of elevation gain that load as much as one running mile.
const (
	runningFeet = 750.0
	cyclingFeet = 1100.0
	skiingFeet  = 500.0
)

const (
	strengthMilesPerHour = 0.30 // per point of RPE
	defaultRPE           = 6
)

// ExternalLoad computes the load in running-equivalent miles with the
// application's conversions:
//
//	running   miles + feet/750
//	cycling   miles/f + feet/1100, f by average speed: ≤ 12 mph or unknown 4.0, ≤ 16 3.5, ≤ 20 2.9, above 2.4
//	swimming  miles × 4.0, open water × 4.2
//	rowing    miles × 1.5, on water × 1.7
//	skiing    miles × 1.2 + feet/500
//	strength  hours × RPE × 0.30, RPE 6 when it is not 1 to 10
func ExternalLoad(s Session) Load {
	miles, feet, minutes, mph := quantity(s.Miles), quantity(s.Feet), quantity(s.Minutes), quantity(s.Mph)
	if mph == 0 && minutes > 0 {
		mph = quantity(miles / (minutes / 60)) // an infinite speed counts as unknown: the duration is wrong
	}
	load := Load{Sport: s.Sport, DistanceMiles: Round(miles), ElevationGainFeet: Round(feet)}
	if load.Sport == "" {
		load.Sport = ParseSport(s.Type)
	}
	if mph > 0 {
		load.AverageSpeedMph = rounded(mph)
	}

	var equivalent, elevation float64
	switch load.Sport {
	case Cycling:
		equivalent, elevation = miles/cyclingDivisor(mph), feet/cyclingFeet
		load.CyclingEquivalentMiles = rounded(equivalent)
		load.CyclingElevationFactor = rounded(cyclingFeet)
	case Swimming:
		equivalent = miles * byWater(s.Type, 4.0, 4.2)
		load.SwimmingEquivalentMiles = rounded(equivalent)
	case Rowing:
		equivalent = miles * byWater(s.Type, 1.5, 1.7)
		load.RowingEquivalentMiles = rounded(equivalent)
	case BackcountrySkiing:
		equivalent, elevation = miles*1.2, feet/skiingFeet
		load.BackcountrySkiingEquivalentMiles = rounded(equivalent + elevation)
	case Strength:
		equivalent = minutes / 60 * rpe(s.RPE) * strengthMilesPerHour
		load.StrengthEquivalentMiles = rounded(equivalent)
	default:
		equivalent, elevation = miles, feet/runningFeet
	}
	load.ElevationLoadMiles = Round(elevation)
	load.TotalLoadMiles = Round(equivalent + elevation)
	return load
}

// cyclingDivisor is how many cycling miles load as much as one running mile.
// Speed 0 is unknown.
func cyclingDivisor(mph float64) float64 {
	switch {
	case mph <= 12:
		return 4.0
	case mph <= 16:
		return 3.5
	case mph <= 20:
		return 2.9
	default:
		return 2.4
	}
}

func byWater(activityType string, indoor, water float64) float64 {
	if containsAny(typeWords(activityType), waterWords) {
		return water
	}
	return indoor
}

func rpe(given int) float64 {
	if given < 1 || given > 10 {
		return defaultRPE
	}
	return float64(given)
}

func quantity(x float64) float64 {
	if !(x > 0) || math.IsInf(x, 0) {
		return 0
	}
	return x
}

func rounded(x float64) *float64 { return new(Round(x)) }
