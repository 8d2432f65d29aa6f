package activityfile

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trainingmonkey/worker/jobs"
)

const trailRun = `{"resource_state":2,"athlete":{"id":1,"resource_state":1},"name":"Ridge","distance":10000.0,"moving_time":3600,"elapsed_time":4000,
 "total_elevation_gain":300,"type":"Run","sport_type":"TrailRun","id":12345678987654321,"start_date":"2026-01-31T05:30:00Z","start_date_local":"2026-01-30T22:30:00Z",
 "timezone":"(GMT-07:00) America/Denver","average_speed":2.778,"has_heartrate":true,"average_heartrate":150.0,"max_heartrate":178,"average_temp":20,
 "map":{"summary_polyline":"a\\b"},"kudos_count":3,"brand_new_field":[1,2]}`

func TestStravaAPI(t *testing.T) {
	t.Parallel()
	want := jobs.Activity{
		ActivityID: 12345678987654321, UserID: 7, Partial: true, Date: "2026-01-30", StartTime: new("22:30:00"),
		Name: new("Ridge"), Type: new("Trail Run"), SportType: new("running"),
		DistanceMiles: new(6.21), ElevationGainFeet: new(984.25), ElevationLoadMiles: new(1.31), TotalLoadMiles: new(7.53), AverageSpeedMph: new(6.21),
		AvgHeartRate: new(150.), MaxHeartRate: new(178.), DurationMinutes: new(60.), Trimp: new(138.72), TrimpCalculationMethod: new("average"), AvgTempF: new(68.),
	}
	got, faults, final := readText(t, "["+trailRun+"]", Options{Format: StravaAPI, UserID: 7})
	if diff := cmp.Diff([]jobs.Activity{want}, got); diff != "" || faults != nil || final != nil {
		t.Errorf("reading gave %v, %v (-want +got):\n%s", faults, final, diff)
	}

	// If the athlete's time zone is known, Strava's local time is ignored.
	want.Date, want.StartTime, want.DayFromUTC = "2026-01-30", new("21:30:00"), true
	got, _, _ = readText(t, "["+trailRun+"]", Options{Format: StravaAPI, UserID: 7, Location: pacific(t)})
	if diff := cmp.Diff([]jobs.Activity{want}, got); diff != "" {
		t.Errorf("reading for US/Pacific (-want +got):\n%s", diff)
	}
}

func TestStravaAPIVariants(t *testing.T) {
	t.Parallel()
	const head = `{"id":1,"start_date_local":"2026-01-31T16:20:00Z"`
	for _, c := range []struct {
		fields string
		check  func(a jobs.Activity) any
		want   any
	}{
		{`"type":"Run"`, func(a jobs.Activity) any { return *a.Type }, "Run"},
		{`"type":"Ride","sport_type":"EBikeRide"`, func(a jobs.Activity) any { return *a.Type + *a.SportType }, "E-Bike Ridecycling"},
		{`"type":"Run","distance":1000`, func(a jobs.Activity) any { return *a.Trimp }, 0.},
		{`"type":"Run","distance":1000`, func(a jobs.Activity) any { return a.AvgHeartRate == nil && a.TrimpCalculationMethod == nil }, true},
		{`"has_heartrate":false,"average_heartrate":150,"moving_time":60`, func(a jobs.Activity) any { return a.AvgHeartRate == nil && *a.Trimp == 0 }, true},
		{`"average_heartrate":0,"moving_time":60`, func(a jobs.Activity) any { return a.AvgHeartRate == nil }, true},
		{`"elapsed_time":90`, func(a jobs.Activity) any { return *a.DurationMinutes }, 1.5},
		{`"moving_time":100,"elapsed_time":900`, func(a jobs.Activity) any { return *a.DurationMinutes }, 1.67},
		{`"sport_type":"WeightTraining","moving_time":3600`, func(a jobs.Activity) any { return *a.TotalLoadMiles }, 1.8},
		{`"sport_type":"WeightTraining","moving_time":3600,"perceived_exertion":9`, func(a jobs.Activity) any { return *a.TotalLoadMiles }, 2.7},
		{`"sport_type":"WeightTraining","moving_time":3600,"perceived_exertion":11`, func(a jobs.Activity) any { return *a.TotalLoadMiles }, 1.8},
		{`"sport_type":"Run","moving_time":3600,"perceived_exertion":9`, func(a jobs.Activity) any { return a.StrengthRPE == nil }, true},
		{`"sport_type":"Ride","distance":10000,"average_speed":9`, func(a jobs.Activity) any { return *a.CyclingEquivalentMiles }, 2.59},
		{`"name":null,"device_name":"Watch"`, func(a jobs.Activity) any { return a.Name == nil && a.Type == nil && *a.DeviceName == "Watch" }, true},
	} {
		got, faults, final := readText(t, "["+head+","+c.fields+"}]", Options{Format: StravaAPI, UserID: 7})
		if len(got) != 1 {
			t.Errorf("reading %s: %v, %v", c.fields, faults, final)
		} else if value := c.check(got[0]); value != c.want {
			t.Errorf("reading %s gave %v, want %v", c.fields, value, c.want)
		}
	}
}

func TestStravaAPIFaults(t *testing.T) {
	t.Parallel()
	const good = `{"id":2,"start_date_local":"2026-01-31T16:20:00Z"}`
	for in, want := range map[string]string{
		`{"start_date_local":"2026-01-31T16:20:00Z"}`:        "stdin:1: activity 1: id: is required",
		`{"id":0,"start_date_local":"2026-01-31T16:20:00Z"}`: "activity_id: must be a positive integer, got 0",
		`{"id":"1"}`: "activity 1: id: string is not a valid integer",
		`{"id":1}`:   "start_date_local: is required",
		`{"id":1,"start_date_local":"2026-02-30T16:20:00Z"}`:                         `start_date_local: must be a time that exists, as 2026-01-31T16:20:00Z, got "2026-02-30T16:20:00Z"`,
		`{"id":1,"start_date_local":"2026-01-31T16:20:00Z","distance":-5}`:           "distance: must not be negative, got -5",
		`{"id":1,"start_date_local":"2026-01-31T16:20:00Z","distance":"5"}`:          "distance: string is not a valid number",
		`{"id":1,"start_date_local":"2026-01-31T16:20:00Z","distance":1e999}`:        "distance: number 1e999 is not a valid number",
		`{"id":1,"start_date_local":"2026-01-31T16:20:00Z","distance":1e300}`:        "distance_miles: must lie between",
		`{"id":1,"start_date_local":"0001-01-31T16:20:00Z"}`:                         "date: must lie between 1900-01-01 and 2999-12-31, got 0001-01-31",
		`{"message":"Authorization Error","errors":[]}`:                              "id: is required",
		"{\"id\":1,\"start_date_local\":\"2026-01-31T16:20:00Z\",\"name\":\"\xff\"}": "name: is not valid UTF-8",
	} {
		checkOutcome(t, "["+in+","+good+"]", Options{Format: StravaAPI, UserID: 7}, outcome{ids: []int64{2}, faults: []string{want}})
	}
	checkOutcome(t, `[{"id":1,"start_date":"yesterday"}]`, Options{Format: StravaAPI, UserID: 7, Location: pacific(t)},
		outcome{faults: []string{`start_date: must be a time that exists, as 2026-01-31T16:20:00Z, got "yesterday"`}})
	checkOutcome(t, `[{"id":1,"sport_type":"Yoga"},{"id":1,"type":"Golf"}]`, Options{Format: StravaAPI, UserID: 7}, outcome{})
}
