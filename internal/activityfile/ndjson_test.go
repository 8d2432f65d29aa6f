package activityfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
)

func TestNDJSON(t *testing.T) {
	t.Parallel()
	const a1, a2 = `{"activity_id":1,"user_id":7,"date":"2026-01-31"}`, `{"activity_id":2,"user_id":7,"date":"2026-02-01"}`
	long := `{"activity_id":3,"user_id":7,"date":"2026-01-31","name":"` + strings.Repeat("x", maxRecordBytes) + `"}`
	fits := a1 + strings.Repeat(" ", maxRecordBytes-len(a1)-1)
	for _, c := range []struct {
		name, in string
		user     int32
		want     outcome
	}{
		{"two lines", a1 + "\n" + a2 + "\n", 0, outcome{ids: []int64{1, 2}}},
		{"no final line break", a1 + "\n" + a2, 0, outcome{ids: []int64{1, 2}}},
		{"byte order mark and CRLF", "\ufeff" + a1 + "\r\n" + a2 + "\r\n", 0, outcome{ids: []int64{1, 2}}},
		{"blank lines", "\n\n" + a1 + "\n \t\r\n" + a2 + "\n\n", 0, outcome{ids: []int64{1, 2}}},
		{"nothing but blanks", " \n\n", 0, outcome{}},
		{"deleted", `{"activity_id":1,"user_id":7,"date":"2026-01-31","deleted":true}`, 0, outcome{ids: []int64{1}}},
		{"deleted yoga", `{"activity_id":1,"user_id":7,"date":"2026-01-31","type":"Yoga","deleted":true}`, 0, outcome{ids: []int64{1}}},
		{"yoga", `{"activity_id":1,"user_id":7,"date":"2026-01-31","type":"Yoga"}` + "\n" + a2, 0, outcome{ids: []int64{2}}},
		{"yoga with a load", `{"activity_id":1,"user_id":7,"date":"2026-01-31","type":"Yoga","total_load_miles":1}`, 0, outcome{ids: []int64{1}}},
		{"rest day", `{"activity_id":-739522007,"user_id":7,"date":"2025-09-28","type":"rest","total_load_miles":0}`, 0, outcome{}},
		{"other columns", `{"activity_id":1,"user_id":7,"date":"2026-01-31","notes":"x","acute_chronic_ratio":1.2}`, 0, outcome{ids: []int64{1}}},
		{"a line of the greatest length", fits + "\n" + a2, 0, outcome{ids: []int64{1, 2}}},
		{"a line too long", a1 + "\n" + long + "\n" + a2, 0, outcome{ids: []int64{1, 2}, faults: []string{"stdin:2: the record is longer than 1 MiB"}}},
		{"a last line too long", a1 + "\n" + long, 0, outcome{ids: []int64{1}, faults: []string{"stdin:2: the record is longer"}}},

		{"malformed", a1 + "\n{\"activity_id\":1,\n" + a2, 0, outcome{ids: []int64{1, 2}, faults: []string{"stdin:2: malformed JSON: unexpected end of JSON input"}}},
		{"two on a line", a1 + a2, 0, outcome{faults: []string{"stdin:1: malformed JSON: invalid character '{' after top-level value"}}},
		{"not an object", "[" + a1 + "]\n7\nnull\n", 0, outcome{faults: []string{"stdin:1: an activity must be a JSON object, got [{", "stdin:2: an activity must be a JSON object, got 7", "stdin:3: an activity must be a JSON object, got null"}}},
		{"unknown field", `{"activity_id":1,"user_id":7,"date":"2026-01-31","distance_mile":1}`, 0, outcome{faults: []string{`stdin:1: unknown field "distance_mile"`}}},
		{"wrong type", `{"activity_id":"1","user_id":7,"date":"2026-01-31"}`, 0, outcome{faults: []string{"stdin:1: activity_id: string is not a valid integer"}}},
		{"id too large", `{"activity_id":99999999999999999999,"user_id":7,"date":"2026-01-31"}`, 0, outcome{faults: []string{"activity_id: number 99999999999999999999 is out of range"}}},
		{"number too large", `{"activity_id":1,"user_id":7,"date":"2026-01-31","trimp":1e999}`, 0, outcome{faults: []string{"trimp: number 1e999 is out of range"}}},
		{"out of range", `{"activity_id":1,"user_id":7,"date":"2026-01-31","trimp":1e10}`, 0, outcome{faults: []string{"stdin:1: trimp: must lie between 0 and 1e+09, got 1e+10"}}},
		{"computed load out of range", `{"activity_id":1,"user_id":7,"date":"2026-01-31","type":"Swim","distance_miles":9e8}`, 0, outcome{faults: []string{"total_load_miles: must lie between"}}},
		{"impossible date", `{"activity_id":1,"user_id":7,"date":"2026-02-30"}`, 0, outcome{faults: []string{`stdin:1: date: must be a date that exists, as YYYY-MM-DD, got "2026-02-30"`}}},
		{"several faults", `{"activity_id":0,"user_id":7,"date":""}`, 0, outcome{faults: []string{"stdin:1: activity_id: must be a positive integer, got 0; date: is required"}}},
		{"missing id", `{"user_id":7,"date":"2026-01-31"}`, 0, outcome{faults: []string{"activity_id: must be a positive integer, got 0"}}},
		{"invalid UTF-8", "{\"activity_id\":1,\"user_id\":7,\"date\":\"2026-01-31\",\"name\":\"a\xff\"}\n" + a2, 0, outcome{ids: []int64{2}, faults: []string{`stdin:1: name: is not valid UTF-8: "\"a\xff\""`}}},
		{"invalid UTF-8 in a name", "{\"\xff\":1}", 0, outcome{faults: []string{"holds a field name that is not valid UTF-8"}}},
		{"NUL", "{\"activity_id\":1,\"name\":\"\x00\"}", 0, outcome{faults: []string{`invalid character '\x00' in string literal`}}},
		{"escaped NUL", `{"activity_id":1,"user_id":7,"date":"2026-01-31","name":"\u0000"}`, 0, outcome{faults: []string{"name: holds a NUL byte"}}},
		{"half of an emoji", `{"activity_id":1,"user_id":7,"date":"2026-01-31","name":"Run \ud83d"}` + "\n" + a2, 0, outcome{ids: []int64{2}, faults: []string{`stdin:1: name: holds half of a character, as a text cut inside an emoji does: "Run \ud83d"`}}},
		{"the other half", `{"activity_id":1,"user_id":7,"date":"2026-01-31","name":"\udc4d\ud83d Run"}`, 0, outcome{faults: []string{"name: holds half of a character"}}},
		{"whole emojis, and what only resembles a half", `{"activity_id":1,"user_id":7,"date":"2026-01-31","name":"\ud83d\udc4d \\ud83d \u00e9 \ud83d\udc4d\ud83d\udc4d"}`, 0, outcome{ids: []int64{1}}},
		{"a field twice", `{"activity_id":1,"user_id":7,"date":"2026-01-31","trimp":1,"TRIMP":2}`, 0, outcome{faults: []string{"TRIMP\": is given twice, as 1 and 2"}}},

		{"user given", `{"activity_id":1,"date":"2026-01-31"}` + "\n{ }\n" + `{"activity_id":2,"date":"2026-01-31","user_id":null }`, 9, outcome{ids: []int64{1, 2}, faults: []string{"stdin:2: activity_id: must be a positive integer, got 0; date: is required"}}},
		{"the same user", a1, 7, outcome{ids: []int64{1}}},
		{"another user", a1 + "\n" + a2, 9, outcome{faults: []string{"stdin:1: user_id: belongs to another user: is 7, but --user is 9", "stdin:2: user_id: belongs to another user: is 7, but"}}},
		{"another user, escaped", `{"activity_id":1,"us\u0065r_id":7,"date":"2026-01-31"}`, 9, outcome{faults: []string{"user_id: belongs to another user: is 7, but --user is 9"}}},
		{"a user that is none", `{"activity_id":1,"user_id":"7","date":"2026-01-31"}`, 7, outcome{faults: []string{"user_id: string is not a valid 32-bit integer"}}},
		{"no user", `{"activity_id":1,"date":"2026-01-31"}`, 0, outcome{faults: []string{"stdin:1: user_id: is required in every activity"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checkOutcome(t, c.in, Options{Format: NDJSON, UserID: c.user}, c.want)
		})
	}
}

func TestAbsentLoadsAreComputed(t *testing.T) {
	t.Parallel()
	base := jobs.Activity{ActivityID: 1, UserID: 7, Date: "2026-01-31"}
	for _, c := range []struct {
		fields string
		want   func(a *jobs.Activity)
	}{
		{``, func(*jobs.Activity) {}},
		{`"elevation_gain_feet":750`, func(a *jobs.Activity) { a.ElevationGainFeet = new(750.) }},
		{`"distance_miles":3,"elevation_gain_feet":750,"type":"Trail Run"`, func(a *jobs.Activity) {
			a.DistanceMiles, a.ElevationGainFeet, a.Type, a.SportType = new(3.), new(750.), new("Trail Run"), new("running")
			a.ElevationLoadMiles, a.TotalLoadMiles = new(1.), new(4.)
		}},
		{`"distance_miles":30,"elevation_gain_feet":1100,"average_speed_mph":21,"sport_type":"cycling"`, func(a *jobs.Activity) {
			a.DistanceMiles, a.ElevationGainFeet, a.AverageSpeedMph, a.SportType = new(30.), new(1100.), new(21.), new("cycling")
			a.ElevationLoadMiles, a.TotalLoadMiles, a.CyclingEquivalentMiles, a.CyclingElevationFactor = new(1.), new(13.5), new(12.5), new(1100.)
		}},
		{`"duration_minutes":60,"sport_type":"strength","strength_rpe":10`, func(a *jobs.Activity) {
			a.DurationMinutes, a.SportType, a.StrengthRPE = new(60.), new("strength"), new(int32(10))
			a.ElevationLoadMiles, a.TotalLoadMiles, a.StrengthEquivalentMiles = new(0.), new(3.), new(3.)
		}},
		{`"distance_miles":3,"total_load_miles":99`, func(a *jobs.Activity) { a.DistanceMiles, a.TotalLoadMiles = new(3.), new(99.) }},
		{`"distance_miles":3,"elevation_load_miles":5`, func(a *jobs.Activity) {
			a.DistanceMiles, a.ElevationLoadMiles, a.TotalLoadMiles, a.SportType = new(3.), new(5.), new(3.), new("running")
		}},
		{`"duration_minutes":60,"avg_heart_rate":150`, func(a *jobs.Activity) {
			a.DurationMinutes, a.AvgHeartRate, a.Trimp, a.TrimpCalculationMethod = new(60.), new(150.), new(129.36), new("average")
		}},
		{`"duration_minutes":60,"avg_heart_rate":150,"trimp":1,"total_load_miles":0`, func(a *jobs.Activity) {
			a.DurationMinutes, a.AvgHeartRate, a.Trimp, a.TotalLoadMiles = new(60.), new(150.), new(1.), new(0.)
		}},
		{`"deleted":true,"distance_miles":3`, func(a *jobs.Activity) { a.Deleted, a.DistanceMiles = true, new(3.) }},
	} {
		in := `{"activity_id":1,"user_id":7,"date":"2026-01-31"`
		if c.fields != "" {
			in += "," + c.fields
		}
		want := base
		c.want(&want)
		got, faults, final := readText(t, in+"}", Options{Format: NDJSON, HeartRate: trainingload.HeartRate{Resting: 50, Max: 180}})
		if diff := cmp.Diff([]jobs.Activity{want}, got); diff != "" {
			t.Errorf("reading %s, %v, %v (-want +got):\n%s", c.fields, faults, final, diff)
		}
	}
}

func TestRecordErrorFields(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "a.ndjson", "\n{\"activity_id\":1,\"user_id\":7,\"date\":\"x\"}\n")
	r, err := Open(file, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // read only
	_, err = r.Next()
	fault, ok := err.(*RecordError) //nolint:errorlint // Next promises it unwrapped
	if !ok {
		t.Fatalf("Next() = %v, want a *RecordError", err)
	}
	if fault.File != file || fault.Line != 2 || fault.Record != 0 || fault.Field != "date" {
		t.Errorf("Next() = %+v, want the date in line 2 of %s", fault, file)
	}
	if want := fmt.Sprintf("%s:2: date: must be a date that exists, as YYYY-MM-DD, got %q", file, "x"); err.Error() != want {
		t.Errorf("Next() = %q, want %q", err, want)
	}
}
