package jobs

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Activity is one activity of one athlete, as it is to be stored. Every field is named
// after its column of `activities`. ActivityID, UserID and Date are required.
//
// An activity has all of its synced columns: a nil field is stored as NULL, so
// that the newest version wins as a whole, in whatever order versions arrive.
// With Partial set, nil fields keep the stored values. The columns that people
// edit in the application (notes, weight, perceived effort, feeling) are not
// synced and never touched; the seven ACWR results are computed by the worker.
//
// With Deleted set the activity is removed, and only ActivityID, UserID and Date are read.
type Activity struct {
	ActivityID int64  `json:"activity_id"` // the provider's id, positive
	UserID     int32  `json:"user_id"`     // positive
	Date       string `json:"date"`        // the athlete's local date, YYYY-MM-DD
	Deleted    bool   `json:"deleted,omitempty"`

	// Partial says that the source, such as a bulk export, does not have every field:
	// nil fields keep the stored values, and a TRIMP from the average heart rate does
	// not replace one from better data.
	Partial bool `json:"partial,omitempty"`
	// DayFromUTC says that Date and StartTime were computed from UTC with the
	// athlete's home zone. If the activity is Partial, it then does not move
	// one that is stored with the local time of its place.
	DayFromUTC bool `json:"day_from_utc,omitempty"`
	// Unloaded says that the type has no training load: an activity that is
	// stored loses its load; one that is not stored is ignored.
	Unloaded bool `json:"unloaded,omitempty"`

	Name      *string `json:"name,omitempty"`
	Type      *string `json:"type,omitempty"`       // display type, "Trail Run"
	SportType *string `json:"sport_type,omitempty"` // running, cycling, swimming, rowing, backcountry_skiing, strength

	DistanceMiles      *float64 `json:"distance_miles,omitempty"`
	ElevationGainFeet  *float64 `json:"elevation_gain_feet,omitempty"`
	ElevationLoadMiles *float64 `json:"elevation_load_miles,omitempty"`
	TotalLoadMiles     *float64 `json:"total_load_miles,omitempty"` // external load, running-equivalent miles

	AvgHeartRate    *float64 `json:"avg_heart_rate,omitempty"`   // beats a minute
	MaxHeartRate    *float64 `json:"max_heart_rate,omitempty"`   // beats a minute
	DurationMinutes *float64 `json:"duration_minutes,omitempty"` // moving time
	Trimp           *float64 `json:"trimp,omitempty"`            // internal load
	TimeInZone1     *float64 `json:"time_in_zone1,omitempty"`    // seconds
	TimeInZone2     *float64 `json:"time_in_zone2,omitempty"`
	TimeInZone3     *float64 `json:"time_in_zone3,omitempty"`
	TimeInZone4     *float64 `json:"time_in_zone4,omitempty"`
	TimeInZone5     *float64 `json:"time_in_zone5,omitempty"`

	AverageSpeedMph                  *float64 `json:"average_speed_mph,omitempty"`
	CyclingEquivalentMiles           *float64 `json:"cycling_equivalent_miles,omitempty"`
	CyclingElevationFactor           *float64 `json:"cycling_elevation_factor,omitempty"`
	SwimmingEquivalentMiles          *float64 `json:"swimming_equivalent_miles,omitempty"`
	StrengthEquivalentMiles          *float64 `json:"strength_equivalent_miles,omitempty"`
	RowingEquivalentMiles            *float64 `json:"rowing_equivalent_miles,omitempty"`
	BackcountrySkiingEquivalentMiles *float64 `json:"backcountry_skiing_equivalent_miles,omitempty"`

	StrengthRPE            *int32  `json:"strength_rpe,omitempty"`             // 1 to 10
	TrimpCalculationMethod *string `json:"trimp_calculation_method,omitempty"` // at most 20 characters
	HRStreamSampleCount    *int32  `json:"hr_stream_sample_count,omitempty"`
	TrimpProcessedAt       *string `json:"trimp_processed_at,omitempty"` // 2006-01-02T15:04:05[.999999], no zone

	StartTime    *string  `json:"start_time,omitempty"` // local, HH:MM:SS
	DeviceName   *string  `json:"device_name,omitempty"`
	AvgTempF     *float64 `json:"avg_temp_f,omitempty"`
	TrimpDynamic *float64 `json:"trimp_dynamic,omitempty"`
}

// DecodeActivity reads one activity from its JSON. Fields that this version
// does not know are ignored, because a newer enqueuer may send them. The error
// names the field that does not decode.
func DecodeActivity(data []byte) (Activity, error) {
	var a Activity
	if err := json.Unmarshal(data, &a); err != nil {
		return a, decodeError(err)
	}
	return a, a.Validate()
}

// DecodeActivityStrictly is DecodeActivity for input from people: a field that
// is neither an activity's nor another column of the application's table is an
// error, because it is most likely a typing error.
func DecodeActivityStrictly(data []byte) (Activity, error) {
	var a Activity
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return a, decodeError(err)
	}
	for _, name := range unsyncedColumns {
		delete(fields, name)
	}
	if err := checkFields(fields); err != nil {
		return a, err
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, decodeError(err)
	}
	return a, a.Validate()
}

// unsyncedColumns are the columns of `activities` that ingest never writes. An
// export of that table may contain them; they are ignored.
var unsyncedColumns = []string{
	"notes", "weight_lbs", "perceived_effort", "feeling_score",
	"seven_day_avg_load", "twentyeight_day_avg_load", "seven_day_avg_trimp", "twentyeight_day_avg_trimp",
	"acute_chronic_ratio", "trimp_acute_chronic_ratio", "normalized_divergence",
	"ingest_job_id", "ingest_day_from_utc", "ingest_alone",
}

// decodeError rewords an error of encoding/json for people who write activities
// and may not know Go.
func decodeError(err error) error {
	if wrongType, ok := err.(*json.UnmarshalTypeError); ok { //nolint:errorlint // encoding/json returns it bare
		if wrongType.Field == "" {
			return fmt.Errorf("an activity must be a JSON object, got %s", wrongType.Value)
		}
		if strings.HasPrefix(wrongType.Value, "number ") {
			return fmt.Errorf("%s: %s is out of range", wrongType.Field, wrongType.Value)
		}
		return fmt.Errorf("%s: %s is not a valid %s", wrongType.Field, wrongType.Value, jsonTypeName(wrongType.Type.Kind().String()))
	}
	return fmt.Errorf("malformed JSON: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func jsonTypeName(kind string) string {
	switch kind {
	case "float64", "float32":
		return "number"
	case "int64":
		return "integer"
	case "int32":
		return "32-bit integer"
	case "bool":
		return "boolean"
	default:
		return kind
	}
}
