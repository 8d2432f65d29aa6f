package activityfile

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
)

// stravaActivity is an activity as Strava lists it, in metres, seconds, metres a second and
// degrees Celsius. Other fields are ignored, because Strava adds some from time to time.
type stravaActivity struct {
	ID                 *int64   `json:"id"`
	Name               *string  `json:"name"`
	SportType          string   `json:"sport_type"` // "TrailRun"; newer and more specific than Type
	Type               string   `json:"type"`
	StartDate          string   `json:"start_date"`       // UTC
	StartDateLocal     string   `json:"start_date_local"` // local wall time with a Z that means nothing
	Distance           *float64 `json:"distance"`
	MovingTime         *float64 `json:"moving_time"`
	ElapsedTime        *float64 `json:"elapsed_time"`
	TotalElevationGain *float64 `json:"total_elevation_gain"`
	AverageSpeed       *float64 `json:"average_speed"`
	HasHeartRate       *bool    `json:"has_heartrate"`
	AverageHeartRate   *float64 `json:"average_heartrate"`
	MaxHeartRate       *float64 `json:"max_heartrate"`
	AverageTemp        *float64 `json:"average_temp"`
	PerceivedExertion  *float64 `json:"perceived_exertion"`
	DeviceName         *string  `json:"device_name"`
}

// stravaDecoder decodes the answers of Strava's API.
type stravaDecoder struct{ Options }

func (d stravaDecoder) decode(record []byte) (jobs.Activity, error) {
	if err := checkObject(record); err != nil {
		return jobs.Activity{}, err
	}
	var s stravaActivity
	if err := json.Unmarshal(record, &s); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return jobs.Activity{}, faultf(wrong.Field, "%s is not a valid %s", wrong.Value, kindName(wrong.Type.Kind().String()))
		}
		return jobs.Activity{}, fmt.Errorf("malformed JSON: %w", err)
	}
	activityType := cmp.Or(s.SportType, s.Type)
	start, err := s.localStart(d.Location)
	fromUTC := d.Location != nil && s.StartDate != ""
	switch {
	case !trainingload.HasTrainingLoad(activityType):
		return withoutLoad(jobs.Activity{
			ActivityID: value(s.ID), UserID: d.UserID, Date: start.Format(time.DateOnly), DayFromUTC: fromUTC, StartTime: new(start.Format(time.TimeOnly)),
			Name: s.Name, Type: new(trainingload.SpacedType(activityType)),
		})
	case s.ID == nil:
		return jobs.Activity{}, faultf("id", "is required")
	}
	if err := cmp.Or(s.checkQuantities(), err); err != nil {
		return jobs.Activity{}, err
	}
	if s.HasHeartRate != nil && !*s.HasHeartRate {
		s.AverageHeartRate, s.MaxHeartRate = nil, nil
	}
	return measured{
		id: *s.ID, name: s.Name, activityType: trainingload.SpacedType(activityType), start: start, fromUTC: fromUTC,
		metres: value(s.Distance), climbed: new(value(s.TotalElevationGain)), moving: s.MovingTime, elapsed: s.ElapsedTime,
		speed: value(s.AverageSpeed), avgHeartRate: value(s.AverageHeartRate), maxHeartRate: value(s.MaxHeartRate),
		celsius: s.AverageTemp, exertion: value(s.PerceivedExertion), device: s.DeviceName,
	}.activity(d.Options)
}

func (s *stravaActivity) checkQuantities() error {
	for _, quantity := range []struct {
		field string
		value *float64
	}{
		{"distance", s.Distance},
		{"moving_time", s.MovingTime},
		{"elapsed_time", s.ElapsedTime},
		{"total_elevation_gain", s.TotalElevationGain},
		{"average_speed", s.AverageSpeed},
		{"average_heartrate", s.AverageHeartRate},
		{"max_heartrate", s.MaxHeartRate},
	} {
		if value(quantity.value) < 0 {
			return faultf(quantity.field, "must not be negative, got %v", *quantity.value)
		}
	}
	return nil
}

// localStart returns the wall time at which the activity began: in where if
// that is known, and otherwise in the zone that Strava assumes.
func (s *stravaActivity) localStart(where *time.Location) (time.Time, error) {
	if where != nil && s.StartDate != "" {
		start, err := time.Parse(time.RFC3339, s.StartDate)
		if err != nil {
			return start, faultf("start_date", "must be a time that exists, as 2026-01-31T16:20:00Z, got %q", clip(s.StartDate))
		}
		return start.In(where), nil
	}
	if s.StartDateLocal == "" {
		return time.Time{}, faultf("start_date_local", "is required unless a time zone is set and start_date is given")
	}
	wall := strings.TrimSuffix(s.StartDateLocal, "Z")
	start, err := time.Parse("2006-01-02T15:04:05", wall)
	if err != nil {
		start, err = time.Parse(time.RFC3339, s.StartDateLocal)
	}
	if err != nil {
		return start, faultf("start_date_local", "must be a time that exists, as 2026-01-31T16:20:00Z, got %q", clip(s.StartDateLocal))
	}
	return start, nil
}

func kindName(kind string) string {
	switch kind {
	case "float64":
		return "number"
	case "int64":
		return "integer"
	case "bool":
		return "boolean"
	}
	return kind
}
