package jobs

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fields calls visit with the column and the settable value of every field of a.
func fields(a *Activity, visit func(column string, field reflect.Value)) {
	v := reflect.ValueOf(a).Elem()
	for i := range v.NumField() {
		column, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		visit(column, v.Field(i))
	}
}

func ptr[T any](v T) *T { return &v }

// TestEveryFieldIsChecked ranges over the fields, so that a field added without
// validation fails here, not in production.
func TestEveryFieldIsChecked(t *testing.T) {
	t.Parallel()
	bad := map[reflect.Type][]any{
		reflect.TypeFor[int64]():    {int64(0), int64(-1)},
		reflect.TypeFor[int32]():    {int32(0), int32(-1)},
		reflect.TypeFor[string]():   {"", "2025-02-30", "01.02.2025", "1899-12-31", "3000-01-01"},
		reflect.TypeFor[*int32]():   {ptr(int32(-1))},
		reflect.TypeFor[*float64](): {ptr(math.NaN()), ptr(math.Inf(1)), ptr(math.Inf(-1)), ptr(-1.1e9), ptr(1.1e9)},
		reflect.TypeFor[*string]():  {ptr("a\x00b"), ptr("a\xffb"), ptr(strings.Repeat("x", MaxTextBytes+1))},
		reflect.TypeFor[bool]():     nil,
	}
	checked := 0
	fields(&Activity{}, func(column string, field reflect.Value) {
		values, known := bad[field.Type()]
		if !known {
			t.Errorf("%s: no bad values for a %s", column, field.Type())
		}
		for _, value := range values {
			a := activities(1)[0]
			fields(&a, func(other string, field reflect.Value) {
				if other == column {
					field.Set(reflect.ValueOf(value))
				}
			})
			if err := a.Validate(); err == nil || !strings.HasPrefix(err.Error(), column+": ") {
				t.Errorf("%s = %v: Validate() = %v, want a fault of that field", column, value, err)
			}
			checked++
		}
	})
	if checked < 100 {
		t.Errorf("%d bad values tried", checked)
	}
}

func TestLimitsThemselvesAreValid(t *testing.T) {
	t.Parallel()
	a := activities(1)[0]
	a.ActivityID, a.UserID, a.Date = math.MaxInt64, math.MaxInt32, "2999-12-31"
	good := map[string]any{
		"start_time": "23:59:59", "trimp_processed_at": "2025-01-02 03:04:05.678901",
		"trimp_calculation_method": strings.Repeat("x", 20), "strength_rpe": int32(10),
	}
	fields(&a, func(column string, field reflect.Value) {
		value, special := good[column]
		switch {
		case field.Kind() != reflect.Pointer:
			return
		case special:
		case field.Type() == reflect.TypeFor[*float64]():
			value = float64(MaxQuantity)
		case field.Type() == reflect.TypeFor[*string]():
			value = strings.Repeat("é", MaxTextBytes/2)
		default:
			value = int32(math.MaxInt32)
		}
		field.Set(reflect.New(field.Type().Elem()))
		field.Elem().Set(reflect.ValueOf(value))
	})
	if err := a.Validate(); err != nil {
		t.Errorf("Validate() of an activity at its limits = %v", err)
	}
	data, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	for name, decode := range map[string]func([]byte) (Activity, error){"DecodeActivity": DecodeActivity, "DecodeActivityStrictly": DecodeActivityStrictly} {
		if got, err := decode(data); err != nil || !cmp.Equal(got, a) {
			t.Errorf("%s() of an activity at its limits = %v, %v", name, got, err)
		}
	}
}

func TestEveryFaultIsReported(t *testing.T) {
	t.Parallel()
	a := Activity{
		UserID: -3, Date: "yesterday", Name: ptr("\x00"), Trimp: ptr(-1.0), TotalLoadMiles: ptr(math.NaN()),
		StrengthRPE: ptr(int32(11)), StartTime: ptr("25:00:00"), TrimpProcessedAt: ptr("2025-01-01T00:00:00Z"), TrimpCalculationMethod: ptr(strings.Repeat("x", 21)),
	}
	want := `activity_id: must be a positive integer, got 0; user_id: must be a positive integer, got -3; ` +
		`date: must be a date that exists, as YYYY-MM-DD, got "yesterday"; name: holds a NUL byte, which PostgreSQL cannot store; ` +
		`trimp_calculation_method: is longer than 20 bytes (21); total_load_miles: must be a finite number, got NaN; ` +
		`trimp: must lie between 0 and 1e+09, got -1; strength_rpe: must be 1 to 10, got 11; start_time: must be HH:MM:SS, got "25:00:00"; ` +
		`trimp_processed_at: must be a timestamp without time zone, as 2006-01-02T15:04:05, got "2025-01-01T00:00:00Z"`
	if err := a.Validate(); err == nil || err.Error() != want {
		t.Errorf("Validate() = %v\nwant %s", err, want)
	}
	// A deletion is checked only for what it needs.
	a = Activity{ActivityID: 1, UserID: 1, Date: "2025-01-01", Deleted: true, Trimp: ptr(-1.0)}
	if err := a.Validate(); err != nil {
		t.Errorf("Validate() of a deletion = %v", err)
	}

	// For a job, the faults of the first hundred invalid activities are reported.
	job := ActivityIngest{activities(300)}
	for i := 100; i < 250; i++ {
		job.Activities[i].UserID = 0
	}
	err := job.Validate()
	if err == nil {
		t.Fatal("Validate() of a job = nil")
	}
	lines := strings.Split(err.Error(), "\n")
	if want := "activities[100] (activity_id 101): user_id: must be a positive integer, got 0"; len(lines) != 100 || lines[0] != want {
		t.Errorf("Validate() of a job reports %d faults, the first %q; want 100, %q", len(lines), lines[0], want)
	}
}
