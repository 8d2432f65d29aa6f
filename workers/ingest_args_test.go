package workers

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trainingmonkey/worker/jobs"
)

// TestJobsDecodeLikeTheirActivities compares the decoding of a whole job with
// encoding/json's decoding of each activity.
func TestJobsDecodeLikeTheirActivities(t *testing.T) {
	t.Parallel()
	values := []string{
		`null`, `true`, `"text"`, `"6:00:00"`, `"2025-01-02"`, `"2025-01-02T03:04:05"`, `""`, `"a\"b\\cé 😀\t"`, `"\ud83d"`, `[]`, `{}`, `{"a": [1, {"b": "}"}]}`,
		`0`, `-0`, `1`, `7`, `-1`, `1.0`, `1e2`, `0.1`, `3.3`, `123456.789e-3`, `1e39`, `1e400`, `-1e-400`, `2147483648`, `9223372036854775807`, `9223372036854775808`, `0.30000000000000004`,
	}
	names := []string{"unknown", "Activity_ID", "DATE", "Trimp"}
	for field := range reflect.TypeFor[jobs.Activity]().Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	member := rapid.Custom(func(t *rapid.T) string {
		return fmt.Sprintf("%q: %s", rapid.SampledFrom(names).Draw(t, "name"), rapid.SampledFrom(values).Draw(t, "value"))
	})
	activity := rapid.Custom(func(t *rapid.T) string {
		members := rapid.SliceOfN(member, 0, 4).Draw(t, "members")
		if rapid.IntRange(0, 9).Draw(t, "sort") == 0 {
			return rapid.SampledFrom(values).Draw(t, "no object")
		}
		return `{"activity_id": 5, "user_id": 1, "date": "2025-01-01", "distance_miles": 3.3` + strings.Join(append([]string{""}, members...), ", ") + `}`
	})
	sound := `{"activity_id": 5, "user_id": 1, "date": "2025-01-01", "distance_miles": 3.3}`
	if !decodesLikeItsActivities(t, sound, sound) {
		t.Error("a sound job was decoded activity by activity")
	}
	if decodesLikeItsActivities(t, sound, `{"activity_id": "five"}`, sound) {
		t.Error("a job with a faulty activity was decoded whole")
	}
	rapid.Check(t, func(t *rapid.T) {
		decodesLikeItsActivities(t, rapid.SliceOfN(activity, 1, 4).Draw(t, "activities")...)
	})
}

// decodesLikeItsActivities reports whether the job was decoded whole.
func decodesLikeItsActivities(t rapid.TB, activities ...string) (whole bool) {
	t.Helper()
	text := `{"activities": [` + strings.Join(activities, ", ") + `]}`
	args, err := decodeIngest([]byte(text))
	if err != nil || len(args.items) != len(activities) {
		t.Fatalf("%d of %d activities of %s, %v", len(args.items), len(activities), text, err)
	}
	whole = args.items[0].payloads.each == nil // until a payload is asked for
	for i, item := range args.items {
		want, wantErr := jobs.DecodeActivity([]byte(activities[i]))
		if fmt.Sprint(item.fault) != fmt.Sprint(wantErr) || (wantErr == nil && !reflect.DeepEqual(*item.activity, want)) {
			got, _ := json.Marshal(item.activity)
			t.Fatalf("%s: %s, %v; want %v", activities[i], got, item.fault, wantErr)
		}
		if got := string(item.payload()); got != activities[i] {
			t.Fatalf("payload %s, want %s", got, activities[i])
		}
	}
	return whole
}
