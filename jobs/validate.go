package jobs

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits on one activity. Quantities are at most 10⁹, so that every sum over a
// window, and every ratio of such sums, is a finite `real`.
const (
	MaxQuantity   = 1e9
	MaxTextBytes  = 4096
	maxMethodText = 20 // trimp_calculation_method is varchar(20)
)

var (
	earliestDate = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	latestDate   = time.Date(2999, 12, 31, 0, 0, 0, 0, time.UTC)
)

// Validate reports every fault of the activity at once, each with its field and
// the invalid value, or nil.
func (a *Activity) Validate() error {
	var faults faultList
	if a.ActivityID <= 0 {
		faults.add("activity_id", "must be a positive integer, got %d", a.ActivityID)
	}
	if a.UserID <= 0 {
		faults.add("user_id", "must be a positive integer, got %d", a.UserID)
	}
	if _, err := ParseDate(a.Date); err != nil {
		faults.add("date", "%s", err)
	}
	if a.Deleted {
		return faults.err()
	}
	faults.checkTexts(a)
	faults.checkQuantities(a)
	if a.StrengthRPE != nil && (*a.StrengthRPE < 1 || *a.StrengthRPE > 10) {
		faults.add("strength_rpe", "must be 1 to 10, got %d", *a.StrengthRPE)
	}
	if a.HRStreamSampleCount != nil && *a.HRStreamSampleCount < 0 {
		faults.add("hr_stream_sample_count", "must not be negative, got %d", *a.HRStreamSampleCount)
	}
	if a.StartTime != nil {
		if _, err := time.Parse(time.TimeOnly, *a.StartTime); err != nil {
			faults.add("start_time", "must be HH:MM:SS, got %q", clip(*a.StartTime))
		}
	}
	if a.TrimpProcessedAt != nil {
		if _, err := ParseTimestamp(*a.TrimpProcessedAt); err != nil {
			faults.add("trimp_processed_at", "%s", err)
		}
	}
	return faults.err()
}

// ParseDate reads a calendar date, YYYY-MM-DD, between 1900 and 2999.
func ParseDate(s string) (time.Time, error) {
	d, err := time.Parse(time.DateOnly, s)
	switch {
	case s == "":
		return d, errors.New("is required, as YYYY-MM-DD")
	case err != nil:
		return d, fmt.Errorf("must be a date that exists, as YYYY-MM-DD, got %q", clip(s))
	case d.Before(earliestDate) || d.After(latestDate):
		return d, fmt.Errorf("must lie between %s and %s, got %s", earliestDate.Format(time.DateOnly), latestDate.Format(time.DateOnly), s)
	}
	return d, nil
}

// ParseTimestamp reads a timestamp without time zone, with a T or a space
// between date and time. Seconds may have a fraction.
func ParseTimestamp(s string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05"} {
		if ts, err := time.Parse(layout, s); err == nil {
			return ts, nil
		}
	}
	return time.Time{}, fmt.Errorf("must be a timestamp without time zone, as 2006-01-02T15:04:05, got %q", clip(s))
}

// faultList collects the faults of one activity, so that all are reported.
type faultList []error

func (f *faultList) add(field, format string, args ...any) {
	*f = append(*f, fmt.Errorf(field+": "+format, args...))
}

func (f *faultList) checkTexts(a *Activity) {
	f.checkText("name", a.Name, MaxTextBytes)
	f.checkText("type", a.Type, MaxTextBytes)
	f.checkText("sport_type", a.SportType, MaxTextBytes)
	f.checkText("trimp_calculation_method", a.TrimpCalculationMethod, maxMethodText)
	f.checkText("device_name", a.DeviceName, MaxTextBytes)
}

func (f *faultList) checkQuantities(a *Activity) {
	f.checkQuantity("distance_miles", a.DistanceMiles, 0)
	f.checkQuantity("elevation_gain_feet", a.ElevationGainFeet, 0)
	f.checkQuantity("elevation_load_miles", a.ElevationLoadMiles, 0)
	f.checkQuantity("total_load_miles", a.TotalLoadMiles, 0)
	f.checkQuantity("avg_heart_rate", a.AvgHeartRate, 0)
	f.checkQuantity("max_heart_rate", a.MaxHeartRate, 0)
	f.checkQuantity("duration_minutes", a.DurationMinutes, 0)
	f.checkQuantity("trimp", a.Trimp, 0)
	f.checkQuantity("time_in_zone1", a.TimeInZone1, 0)
	f.checkQuantity("time_in_zone2", a.TimeInZone2, 0)
	f.checkQuantity("time_in_zone3", a.TimeInZone3, 0)
	f.checkQuantity("time_in_zone4", a.TimeInZone4, 0)
	f.checkQuantity("time_in_zone5", a.TimeInZone5, 0)
	f.checkQuantity("average_speed_mph", a.AverageSpeedMph, 0)
	f.checkQuantity("cycling_equivalent_miles", a.CyclingEquivalentMiles, 0)
	f.checkQuantity("cycling_elevation_factor", a.CyclingElevationFactor, 0)
	f.checkQuantity("swimming_equivalent_miles", a.SwimmingEquivalentMiles, 0)
	f.checkQuantity("strength_equivalent_miles", a.StrengthEquivalentMiles, 0)
	f.checkQuantity("rowing_equivalent_miles", a.RowingEquivalentMiles, 0)
	f.checkQuantity("backcountry_skiing_equivalent_miles", a.BackcountrySkiingEquivalentMiles, 0)
	f.checkQuantity("avg_temp_f", a.AvgTempF, -MaxQuantity)
	f.checkQuantity("trimp_dynamic", a.TrimpDynamic, 0)
}

func (f *faultList) checkText(field string, value *string, maxBytes int) {
	switch {
	case value == nil:
	case strings.IndexByte(*value, 0) >= 0:
		f.add(field, "holds a NUL byte, which PostgreSQL cannot store")
	case !utf8.ValidString(*value):
		f.add(field, "is not valid UTF-8: %q", clip(*value))
	case len(*value) > maxBytes:
		f.add(field, "is longer than %d bytes (%d)", maxBytes, len(*value))
	}
}

func (f *faultList) checkQuantity(field string, value *float64, smallest float64) {
	switch {
	case value == nil:
	case math.IsNaN(*value) || math.IsInf(*value, 0):
		f.add(field, "must be a finite number, got %v", *value)
	case *value < smallest || *value > MaxQuantity:
		f.add(field, "must lie between %g and %g, got %g", smallest, float64(MaxQuantity), *value)
	}
}

func (f *faultList) err() error {
	if len(*f) == 0 {
		return nil
	}
	return faultsError{errors.Join(*f...)}
}

// faultsError joins the faults on one line.
type faultsError struct{ joined error }

func (e faultsError) Error() string { return strings.ReplaceAll(e.joined.Error(), "\n", "; ") }
func (e faultsError) Unwrap() error { return e.joined }

// clip shortens an invalid value, so that a message stays on one line.
func clip(s string) string {
	const maxBytes = 60
	if len(s) <= maxBytes {
		return s
	}
	return strings.ToValidUTF8(s[:maxBytes], "") + "…"
}
