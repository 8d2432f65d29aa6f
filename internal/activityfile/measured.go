package activityfile

import (
	"cmp"
	"math"
	"time"

	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
)

// measured is an activity of Strava's from any format, in Strava's units. A zero
// quantity is unknown or none, which gives the same load.
type measured struct {
	id           int64
	name         *string
	activityType string    // display type
	start        time.Time // local date and time of day
	fromUTC      bool      // start was computed from UTC
	metres       float64
	climbed      *float64 // metres, nil when the source does not have it
	moving       *float64
	elapsed      *float64 // seconds, both
	speed        float64  // metres a second
	avgHeartRate float64
	maxHeartRate float64
	celsius      *float64
	exertion     float64 // 1 to 10, anything else is none
	device       *string
}

const (
	secondsPerMinute = 60
	secondsPerHour   = 3600
)

// activity returns the activity to store, with both loads, in the units of the columns.
// It is partial, because Strava does not give every column that the application stores.
func (m measured) activity(o Options) (jobs.Activity, error) {
	m.moving = cmp.Or(m.moving, m.elapsed)
	minutes := value(m.moving) / secondsPerMinute
	trimp, err := m.trimp(minutes, o)
	if err != nil {
		return jobs.Activity{}, err
	}
	session := trainingload.Session{
		Type:    m.activityType,
		Miles:   trainingload.Miles(m.metres),
		Feet:    trainingload.Feet(value(m.climbed)),
		Minutes: minutes,
	}
	if minutes == 0 {
		session.Mph = trainingload.Miles(m.speed * secondsPerHour)
	}
	a := jobs.Activity{
		ActivityID:   m.id,
		UserID:       o.UserID,
		Partial:      true,
		DayFromUTC:   m.fromUTC,
		Date:         m.start.Format(time.DateOnly),
		Name:         m.name,
		AvgHeartRate: unlessZero(m.avgHeartRate),
		MaxHeartRate: unlessZero(m.maxHeartRate),
		StartTime:    new(m.start.Format(time.TimeOnly)),
		DeviceName:   m.device,
		Trimp:        trimp,
	}
	if m.activityType != "" {
		a.Type = &m.activityType
	}
	if m.moving != nil {
		a.DurationMinutes = new(trainingload.Round(minutes))
	}
	if value(trimp) > 0 {
		a.TrimpCalculationMethod = new(methodAverage)
	}
	if m.celsius != nil {
		a.AvgTempF = new(trainingload.Round(*m.celsius*9/5 + 32))
	}
	if m.exertion >= 1 && m.exertion <= 10 && trainingload.ParseSport(m.activityType) == trainingload.Strength {
		session.RPE = int(math.Round(m.exertion))
		a.StrengthRPE = new(int32(session.RPE)) //nolint:gosec // 1 to 10
	}
	load := trainingload.ExternalLoad(session)
	a.DistanceMiles, a.ElevationGainFeet, a.TotalLoadMiles = &load.DistanceMiles, &load.ElevationGainFeet, &load.TotalLoadMiles
	setLoad(&a, load)
	if m.climbed == nil {
		a.ElevationGainFeet, a.ElevationLoadMiles = nil, nil
	}
	return a, a.Validate()
}

// trimp returns 0 for an activity without heart rate, as in the application, and nil if
// the athlete's heart rates are unusable.
func (m measured) trimp(minutes float64, o Options) (*float64, error) {
	if m.avgHeartRate == 0 {
		return new(0.), nil
	}
	athlete, err := o.heartRate(o.UserID)
	if err != nil || athlete == (trainingload.HeartRate{}) {
		return nil, err
	}
	return new(trainingload.TRIMP(minutes, m.avgHeartRate, athlete)), nil
}

func unlessZero(x float64) *float64 {
	if x == 0 {
		return nil
	}
	return &x
}
