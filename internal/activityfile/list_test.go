package activityfile

import (
	"strings"
	"testing"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	const a1, a2 = `{"activity_id":1,"user_id":7,"date":"2026-01-31"}`, `{"activity_id":2,"user_id":7,"date":"2026-02-01"}`
	long := `{"activity_id":3,"name":"` + strings.Repeat("x", maxRecordBytes) + `"}`
	for _, c := range []struct {
		name, in string
		want     outcome
	}{
		{"array", "[" + a1 + "," + a2 + "]", outcome{ids: []int64{1, 2}}},
		{"array over lines", "\ufeff\n[\n  " + a1 + "\n,\n" + a2 + "\n]\n\n", outcome{ids: []int64{1, 2}}},
		{"empty array", " [ ]\n", outcome{}},
		{"wrapped", `{"activities":[` + a1 + "," + a2 + "]}\n", outcome{ids: []int64{1, 2}}},
		{"wrapped with blanks", "{\n \"activities\" :\n [ " + a1 + " ]\n}", outcome{ids: []int64{1}}},
		{"wrapped and empty", `{"activities":[]}`, outcome{}},
		{"one object", " " + a1 + "\n", outcome{ids: []int64{1}}},
		{"one object over lines", "{\n\"activity_id\":1,\n\"user_id\":7,\n\"date\":\"2026-01-31\"\n}\n", outcome{ids: []int64{1}}},
		{"brackets and quotes in strings", `[{"activity_id":1,"user_id":7,"date":"2026-01-31","name":"]}\"\\"},` + a2 + `]`, outcome{ids: []int64{1, 2}}},
		{"yoga", `[{"activity_id":1,"user_id":7,"date":"2026-01-31","type":"Yoga"},` + a2 + "]", outcome{ids: []int64{2}}},

		{"a faulty element", "[\n" + a1 + ",\n{\"activity_id\":3,\n\"trimp\":-1},\n" + a2 + "]", outcome{ids: []int64{1, 2}, faults: []string{"stdin:3: activity 2: user_id: is required"}}},
		{"malformed elements", "[{\"a\" 1}," + a1 + ",{,},7,tru,\"x,]\",[1,\n2], 1.5 ,null]", outcome{ids: []int64{1}, faults: []string{
			"stdin:1: activity 1: malformed JSON", "activity 3: malformed JSON", "activity 4: an activity must be a JSON object, got 7", "activity 5: malformed JSON",
			"activity 6: an activity must be a JSON object", "stdin:1: activity 7: an activity must be a JSON object, got [1, 2]", "stdin:2: activity 8: an activity", "activity 9: an activity",
		}}},
		{"lines behind a number", "[7\n,\n8\n]", outcome{faults: []string{"stdin:1: activity 1", "stdin:3: activity 2"}}},
		{"an element too long", "[" + long + ",\n" + a1 + "]", outcome{ids: []int64{1}, faults: []string{"stdin:1: activity 1: the record is longer than 1 MiB"}}},
		{"one object too long", long, outcome{faults: []string{"stdin:1: the record is longer than 1 MiB"}}},
		{"invalid UTF-8", "[{\"activity_id\":1,\"user_id\":7,\"date\":\"2026-01-31\",\"name\":\"\xc3\"}]", outcome{faults: []string{"activity 1: name: is not valid UTF-8"}}},

		{"something behind", "[" + a1 + "]\n[]", outcome{ids: []int64{1}, final: "stdin:2: malformed JSON: unexpected '[' behind the end of the activities"}},
		{"two objects", a1 + "\n" + a2, outcome{ids: []int64{1}, final: "stdin:2: malformed JSON: unexpected '{' behind"}},
		{"the list twice", `{"activities":[` + a1 + `],"activities":[]}`, outcome{ids: []int64{1}, final: `expected '}' behind "activities", which must stand alone, got ','`}},
		{"behind the wrapper", `{"activities":[]} x`, outcome{final: "unexpected 'x'"}},
		{"a list that is none", `{"activities":{}}`, outcome{final: `"activities" must be an array, got '{'`}},
		{"a list not first", `{"n":1,"activities":[]}`, outcome{faults: []string{"user_id: is required"}}},
		{"no comma", "[" + a1 + "\n" + a2 + "]", outcome{ids: []int64{1}, final: "stdin:2: malformed JSON: expected a comma or the end of the list behind activity 1, got '{'"}},
		{"a comma too many", "[" + a1 + ",]", outcome{ids: []int64{1}, final: "expected an activity, got ']'"}},
		{"commas", "[,]", outcome{final: "expected an activity, got ','"}},
		{"cut off within an object", "[" + a1 + ",\n{\"activity_id\":", outcome{ids: []int64{1}, final: "stdin:2: malformed JSON: the file ends within an activity"}},
		{"cut off between objects", "[" + a1 + ",", outcome{ids: []int64{1}, final: "the file ends within the list behind activity 1"}},
		{"cut off behind an object", "[" + a1, outcome{ids: []int64{1}, final: "the file ends within the list behind activity 1"}},
		{"cut off at once", "[", outcome{final: "the file ends before the first activity"}},
		{"cut off in the wrapper", `{"activities":[` + a1 + "]", outcome{ids: []int64{1}, final: "the file ends within the list"}},
		{"crossed brackets", `[{"a":[1}` + "," + a1 + "]", outcome{final: "expected ']', got '}'"}},
		{"an open quote", "[{\"name\":\"x},\n" + a1 + "]", outcome{final: "stdin:1: malformed JSON: a string must not go on over the end of the line"}},
		{"too deep", "[" + strings.Repeat("[", maxDepth+1), outcome{final: "brackets are nested deeper than 1000"}},
		{"not JSON", "activity_id,date\n", outcome{final: "stdin:1: malformed JSON: expected '[' or '{', got 'a'"}},
		{"blanks", "\n\n", outcome{final: "the file ends before the first activity"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checkOutcome(t, c.in, Options{Format: JSON}, c.want)
		})
	}
}
