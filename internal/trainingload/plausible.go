package trainingload

import "fmt"

// limits are a sport's max average speeds, in miles an hour, in activities of
// less than an hour and in longer ones.
type limits struct{ sprint, hour float64 }

// sportLimits are world records, rounded up. Without a record for an hour it is
// that of the sprint.
var sportLimits = map[Sport]limits{
	// 100 m in 9.58 s (Bolt, 2009); 21,330 m in an hour (Farah, 2020).
	Running: {23.4, 13.3},
	// 200 m with a flying start in 8.857 s (Richardson, 2025); 56.792 km in an hour (Ganna, 2022).
	Cycling: {50.6, 35.3},
	// 50 m in 19.90 s (Crooks, 2024); 1,500 m in 14:30.67 (Finke, 2024).
	Swimming: {5.7, 3.9},
	// 2,000 m of an eight in 5:18.68 (Germany, 2017).
	Rowing: {14.1, 14.1},
}

// otherLimits apply to all other sports, by the fastest of them: the 4,480 m of the
// Lauberhorn downhill in 2:24.23 (Ghedina, 1997).
var otherLimits = limits{69.5, 69.5}

// Limits of every sport.
const (
	// maxClimb is feet climbed in an hour: 1,000 m in 27:21 (Bonnet, vertical kilometre
	// of Fully, 2025). Activities shorter than half an hour may climb as much as in half
	// an hour, because altimeters are imprecise.
	maxClimb = 7200
	// maxMinutes is six days, the length of the longest single races.
	maxMinutes = 6 * 24 * 60
	// maxLoad is a day of running at the speed of the hour record while
	// climbing at maxClimb, 24 × (13.3 + 7,200/750) miles, rounded up.
	maxLoad = 550
)

// Implausible returns which quantities of a session and its load exceed the sport's limits,
// nil for none. The limits are generous: values beyond them are errors of devices or
// conversions. The SQL function acwr_implausible has the same limits.
func Implausible(s Session, loadMiles float64) (reasons []string) {
	allowed, ok := sportLimits[s.Sport]
	if !ok {
		allowed = otherLimits
	}
	beyond := func(value, limit float64, what string) {
		if value > limit {
			reasons = append(reasons, fmt.Sprintf(what+" is more than %.6g", value, limit))
		}
	}
	beyond(s.Minutes, maxMinutes, "a duration of %.6g minutes")
	beyond(loadMiles, maxLoad, "a load of %.6g miles")
	beyond(s.Miles, 24*allowed.hour, "a distance of %.6g miles")
	minutes := s.Minutes
	switch {
	case minutes >= 60:
		beyond(s.Miles*60/minutes, allowed.hour, "a speed of %.6g mph")
	case minutes > 0:
		beyond(s.Miles*60/minutes, allowed.sprint, "a speed of %.6g mph")
	default:
		minutes = 24 * 60
	}
	beyond(s.Feet*60/max(minutes, 30), maxClimb, "climbing %.6g feet an hour")
	return reasons
}
