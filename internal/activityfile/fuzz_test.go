package activityfile

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// checkReading checks what holds for any input: reading ends, returned activities are
// valid, and every fault is one line that names its place.
func checkReading(t *testing.T, text []byte, o Options) {
	t.Helper()
	r, err := Open("-", strings.NewReader(string(text)), o)
	if err != nil {
		checkMessage(t, err)
		return
	}
	for n := 0; ; n++ {
		activity, err := r.Next()
		var fault *RecordError
		switch {
		case err == nil:
			if invalid := activity.Validate(); invalid != nil {
				t.Fatalf("Next() = %+v, which is invalid: %v", activity, invalid)
			}
			if o.UserID != 0 && activity.UserID != o.UserID {
				t.Fatalf("Next() gives user %d, want %d", activity.UserID, o.UserID)
			}
		case errors.As(err, &fault):
			checkMessage(t, err)
			if fault.File != "stdin" || fault.Line < 1 || fault.Line > strings.Count(string(text), "\n")+1 {
				t.Fatalf("Next() = %+v, a place that does not exist", fault)
			}
		case errors.Is(err, io.EOF) && err != io.EOF: //nolint:errorlint // a wrapped io.EOF could pass for success
			t.Fatalf("Next() = %v, which wraps io.EOF", err)
		default:
			if err != io.EOF { //nolint:errorlint // as above
				checkMessage(t, err)
			}
			if _, again := r.Next(); again != err { //nolint:errorlint // must be the same value
				t.Fatalf("Next() = %v after %v", again, err)
			}
			return
		}
		if n > len(text)+1 {
			t.Fatalf("Next() goes on after %d records of %d bytes", n, len(text))
		}
	}
}

func checkMessage(t *testing.T, err error) {
	t.Helper()
	if message := err.Error(); strings.ContainsAny(message, "\n\x00") || !strings.Contains(message, "stdin") || len(message) > 4000 {
		t.Fatalf("error %q, want one short line that names the file", message)
	}
}

func FuzzNDJSON(f *testing.F) {
	f.Add([]byte(ownRecord+"\n"+ownRecord), int32(0))
	f.Add([]byte(`{"activity_id":1,"date":"2026-01-31","deleted":true}`+"\r\n\r\n{}"), int32(7))
	f.Add([]byte(`{"activity_id":1,"user_id":null,"date":"2026-01-31","name":"\ud800\u0000"}`), int32(7))
	f.Add([]byte("{\"activity_id\":1,\"\xff\":\"\xff\"}\nnull\n[1]\n"), int32(7))
	f.Add([]byte(`{"activity_id":1,"USER_ID":null,"user_id":8,"type":"Yoga","total_load_miles":0}`), int32(7))
	f.Fuzz(func(t *testing.T, text []byte, user int32) {
		checkReading(t, text, Options{Format: NDJSON, UserID: max(user, 0)})
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte("[" + ownRecord + ",\n" + ownRecord + "]"))
	f.Add([]byte(`{"activities":[` + ownRecord + `, 1, "a\"]", {"a" 1}, [[]]]}`))
	f.Add([]byte("{\n\"activity_id\":1,\"user_id\":7,\"date\":\"2026-01-31\"}\n"))
	f.Add([]byte("[{\"a\":[1}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		checkReading(t, text, Options{Format: JSON})
	})
}

func FuzzStravaAPI(f *testing.F) {
	f.Add([]byte("["+trailRun+"]"), true)
	f.Add([]byte(`[{"id":1,"start_date_local":"2026-01-31T16:20:00Z","sport_type":"WeightTraining","perceived_exertion":9.5,"moving_time":3600}]`), false)
	f.Add([]byte(`[{"id":1,"start_date":"9999-12-31T23:59:59+14:00","distance":1e300,"average_speed":1e308}]`), true)
	f.Fuzz(func(t *testing.T, text []byte, zone bool) {
		o := Options{Format: StravaAPI, UserID: 7}
		if zone {
			o.Location = pacific(t)
		}
		checkReading(t, text, o)
	})
}

func FuzzStravaExport(f *testing.F) {
	sample, err := os.ReadFile("testdata/activities.csv")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample)
	row := `1,"Oct 6, 2022, 11:19:20 PM","a ""b""` + "\nc\",Run,979,2.43,177.0,979.0,971.0,2432.77,2.5,16.2,,165.5,-40,9\n"
	f.Add([]byte(exportHeader + row + row))
	f.Add([]byte(exportHeader + "1,\"x\n" + row + "1,2\n1,a\"b\n" + strings.Replace(row, "2.43", "NaN", 1) + "\""))
	german, err := os.ReadFile("testdata/exports/german_resaved.csv")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(german)
	f.Add([]byte("\ufeffDistance,Activity Type,Activity Name,Activity Date,Activity ID,Elapsed Time\n1e300,Run,n,\"Oct 6, 0001, 11:19:20 PM\",5,60\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		checkReading(t, text, Options{Format: StravaExport, UserID: 7})
	})
}

func FuzzAuto(f *testing.F) {
	for _, seed := range []string{
		ownRecord, "[" + ownRecord + "]", trailRun, "[" + trailRun + "]", `{"activities" : [` + trailRun + "]}", exportHeader + "1,2",
		"\x1f\x8b\x08\x00", "PK\x03\x04", "PK\x05\x06", "\xff\xfe", "\xef\xbb\xbf[]", "Activity", "\"Activity ID\"", "{\"", "[", " ",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		checkReading(t, text, Options{UserID: 7})
	})
}
