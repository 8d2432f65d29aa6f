package oracle

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/trainingmonkey/worker/jobs"
)

// SampleFirstDay and SampleLastDay are the two years that the histories cover.
var (
	SampleFirstDay = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	SampleLastDay  = time.Date(2025, 12, 31, 0, 0, 0, 0, time.UTC)
)

// athlete describes how a generated athlete trains.
type athlete struct {
	weekly   [7]float64 // chance of a session on each day of the week, Monday first
	sports   []sport
	breakAt  int // first day of an injury
	breakFor int // days without training
}

type sport struct {
	name, display string
	loadPerHour   float64 // running-equivalent miles
	trimpPerHour  float64
}

var (
	running  = sport{"running", "Run", 6.5, 95}
	trail    = sport{"running", "Trail Run", 6, 105}
	cycling  = sport{"cycling", "Ride", 5, 70}
	swimming = sport{"swimming", "Swim", 7, 80}
	strength = sport{"strength", "Weight Training", 1.8, 45}
	skiing   = sport{"backcountry_skiing", "Backcountry Ski", 4, 85}
)

var athletes = []athlete{
	{[7]float64{0.1, 0.9, 0.7, 0.9, 0.2, 0.95, 0.9}, []sport{running, running, trail}, 400, 25},
	{[7]float64{0.8, 0.8, 0.8, 0.8, 0.8, 0.9, 0.9}, []sport{cycling, swimming, running}, 200, 10},
	{[7]float64{0, 0.6, 0, 0.6, 0, 0.7, 0}, []sport{running}, 300, 60},
	{[7]float64{0.5, 0.5, 0.5, 0.5, 0.5, 0.9, 0.5}, []sport{skiing, strength, trail}, 500, 14},
	{[7]float64{0.9, 0.9, 0.9, 0.9, 0.9, 1, 1}, []sport{trail, running, strength}, 650, 35},
	{[7]float64{0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3}, []sport{strength, swimming}, 100, 90},
}

// SampleAthletes is the number of histories; user ids are 1 to SampleAthletes.
var SampleAthletes = len(athletes)

// SampleActivities returns the generated histories of all athletes, the same every time,
// in chronological order: several sports, days with two sessions, gaps, seasons.
func SampleActivities() []jobs.Activity {
	random := rand.New(rand.NewPCG(7, 28))
	var all []jobs.Activity
	id := int64(12_000_000_000)
	for day := SampleFirstDay; !day.After(SampleLastDay); day = day.AddDate(0, 0, 1) {
		for user := range athletes {
			for _, activity := range athletes[user].sessions(random, day) {
				id += 1 + random.Int64N(1_000_000)
				activity.ActivityID, activity.UserID = id, int32(user+1)
				all = append(all, activity)
			}
		}
	}
	return all
}

// sessions returns none, one or two activities of a day.
func (a athlete) sessions(random *rand.Rand, day time.Time) []jobs.Activity {
	since := int(day.Sub(SampleFirstDay).Hours() / 24)
	weekday := (int(day.Weekday()) + 6) % 7
	if (since >= a.breakAt && since < a.breakAt+a.breakFor) || random.Float64() > a.weekly[weekday] {
		return nil
	}
	sessions := []jobs.Activity{a.session(random, day, 7)}
	if random.Float64() < 0.12 {
		sessions = append(sessions, a.session(random, day, 18))
	}
	return sessions
}

func (a athlete) session(random *rand.Rand, day time.Time, hour int) jobs.Activity {
	kind := a.sports[random.IntN(len(a.sports))]
	season := 1 + 0.25*math.Sin(2*math.Pi*float64(day.YearDay())/365)
	hours := (0.4 + 0.9*random.Float64()) * season
	if day.Weekday() == time.Sunday {
		hours *= 1.8
	}
	activity := jobs.Activity{
		Date:            day.Format(time.DateOnly),
		Name:            new(fmt.Sprintf("%s on %s", kind.display, day.Weekday())),
		Type:            new(kind.display),
		SportType:       new(kind.name),
		DurationMinutes: new(round2(hours * 60)),
		TotalLoadMiles:  new(round2(hours * kind.loadPerHour * (0.9 + 0.2*random.Float64()))),
		Trimp:           new(0.0),
		StartTime:       new(fmt.Sprintf("%02d:%02d:00", hour, random.IntN(60))),
	}
	if random.Float64() < 0.9 { // sometimes without a heart-rate strap
		activity.AvgHeartRate = new(round2(110 + 50*random.Float64()))
		activity.Trimp = new(round2(hours * kind.trimpPerHour * (0.8 + 0.4*random.Float64())))
	}
	return activity
}

func round2(x float64) float64 { return math.Round(x*100) / 100 }
