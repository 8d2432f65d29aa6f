package activityfile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trainingmonkey/worker/jobs"
)

const exportHeader = "Activity ID,Activity Date,Activity Name,Activity Type,Elapsed Time,Distance,Max Heart Rate,Elapsed Time,Moving Time,Distance,Average Speed," +
	"Elevation Gain,Max Heart Rate,Average Heart Rate,Average Temperature,Perceived Exertion\n"

func TestStravaExport(t *testing.T) {
	t.Parallel()
	r, err := Open("testdata/activities.csv", nil, Options{UserID: 7, Location: pacific(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // read only
	got, faults, final := readAll(t, r)
	if len(got) != 12 || faults != nil || final != nil || r.format != StravaExport {
		t.Fatalf("reading gave %d activities, %q, %v, format %s, want 12 of strava-export", len(got), faults, final, r.format)
	}
	if r.Size() == 0 || r.BytesRead() != r.Size() {
		t.Errorf("BytesRead() = %d, Size() = %d, want the same", r.BytesRead(), r.Size())
	}
	// 11:19:20 PM in UTC is the afternoon in California; the distance is the second
	// column's, 2432.77 m.
	want := jobs.Activity{
		ActivityID: 9100000000, UserID: 7, Partial: true, DayFromUTC: true, Date: "2022-10-06", StartTime: new("16:19:20"), Name: new("Run"), Type: new("Run"), SportType: new("running"),
		DistanceMiles: new(1.51), ElevationGainFeet: new(0.), ElevationLoadMiles: new(0.), TotalLoadMiles: new(1.51), AverageSpeedMph: new(5.6),
		AvgHeartRate: new(165.57888793945312), MaxHeartRate: new(177.), DurationMinutes: new(16.18), Trimp: new(53.65), TrimpCalculationMethod: new("average"),
	}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("the first activity (-want +got):\n%s", diff)
	}
	sports := map[string]int{}
	for i := range got {
		sports[*got[i].SportType]++
	}
	if diff := cmp.Diff(map[string]int{"running": 8, "strength": 4}, sports); diff != "" {
		t.Errorf("sports (-want +got):\n%s", diff)
	}
}

func TestStravaExportCells(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, row string
		check     func(a jobs.Activity) any
		want      any
	}{
		{"second distance", `1,"Oct 6, 2022, 11:19:20 PM",Run,Run,9,99,,9,9,1609.34708789,,,,,,`, func(a jobs.Activity) any { return *a.DistanceMiles }, 1.},
		{"first distance", `1,"Oct 6, 2022, 11:19:20 PM",Run,Run,9,1.609347,,9,9,,,,,,,`, func(a jobs.Activity) any { return *a.DistanceMiles }, 1.},
		{"first distance of a swim", `1,"Oct 6, 2022, 11:19:20 PM",Swim,Swim,1800,900,,1800,1800,,,,,,,`, func(a jobs.Activity) any { return [2]float64{*a.DistanceMiles, *a.TotalLoadMiles} }, [2]float64{0.56, 2.24}},
		{"second distance of a swim", `1,"Oct 6, 2022, 11:19:20 PM",Swim,Swim,1800,900,,1800,1800,905,,,,,,`, func(a jobs.Activity) any { return *a.TotalLoadMiles }, 2.25},
		{"no distance", `1,"Oct 6, 2022, 11:19:20 PM",Run,Run,9,,,9,9,,,,,,,`, func(a jobs.Activity) any { return *a.DistanceMiles }, 0.},
		{"moving time", `1,"Oct 6, 2022, 11:19:20 PM",Run,Run,120,,,120,90,,,,,,,`, func(a jobs.Activity) any { return *a.DurationMinutes }, 1.5},
		{"elapsed time", `1,"Oct 6, 2022, 11:19:20 PM",Run,Run,,,,120,,,,,,,,`, func(a jobs.Activity) any { return *a.DurationMinutes }, 2.},
		{"first maximum", `1,"Oct 6, 2022, 11:19:20 PM",Run,Run,9,,177,9,9,,,,,,,`, func(a jobs.Activity) any { return *a.MaxHeartRate }, 177.},
		{"second maximum", `1,"Oct 6, 2022, 11:19:20 PM",Run,Run,9,,,9,9,,,,178,,,`, func(a jobs.Activity) any { return *a.MaxHeartRate }, 178.},
		{"temperature", `1,"Oct 6, 2022, 11:19:20 PM",Run,Run,9,,,9,9,,,,,,-40,`, func(a jobs.Activity) any { return *a.AvgTempF }, -40.},
		{"exertion", `1,"Oct 6, 2022, 11:19:20 PM",x,Weight Training,3600,,,,,,,,,,,9.0`, func(a jobs.Activity) any { return *a.TotalLoadMiles + float64(*a.StrengthRPE) }, 11.7},
		{"exertion of a run", `1,"Oct 6, 2022, 11:19:20 PM",x,Run,3600,,,,,,,,,,,9.0`, func(a jobs.Activity) any { return a.StrengthRPE == nil }, true},
		{"no heart rate", `1,"Oct 6, 2022, 11:19:20 PM",x,Run,3600,,,,,,,,,,,`, func(a jobs.Activity) any { return a.AvgHeartRate == nil && *a.Trimp == 0 }, true},
		{"narrow space", "1,\"Oct 6, 2022, 11:19:20\u202fPM\",x,Run,3600,,,,,,,,,,,", func(a jobs.Activity) any { return a.Date + *a.StartTime }, "2022-10-0623:19:20"},
		{"quotes and lines", "1,\"Oct 6, 2022, 11:19:20 PM\",\"a \"\"b\"\"\nc\",Run,3600,,,,,,,,,,,", func(a jobs.Activity) any { return *a.Name }, "a \"b\"\nc"},
	} {
		got, faults, final := readText(t, exportHeader+c.row+"\n", Options{UserID: 7})
		if len(got) != 1 {
			t.Errorf("reading %s: %v, %v", c.name, faults, final)
		} else if value := c.check(got[0]); value != c.want {
			t.Errorf("reading %s gave %v, want %v", c.name, value, c.want)
		}
	}
}

// TestOldExportOfASwim has a single column of distances: 900 m, not 559 miles.
func TestOldExportOfASwim(t *testing.T) {
	t.Parallel()
	const old = "Activity ID,Activity Date,Activity Name,Activity Type,Activity Description,Elapsed Time,Distance,Commute,Activity Gear,Filename\n" +
		`1,"Sep 12, 2018, 3:02:23 PM",Pool,Swim,,1800,900,false,,` + "\n" + `2,"Sep 12, 2018, 3:02:23 PM",Run,Run,,1800,5,false,,` + "\n"
	got, faults, final := readText(t, old, Options{UserID: 7})
	if len(got) != 2 || *got[0].DistanceMiles != 0.56 || *got[0].TotalLoadMiles != 2.24 || *got[1].TotalLoadMiles != 3.11 {
		t.Errorf("reading gave %+v, %v, %v, want loads of 2.24 and 3.11", got, faults, final)
	}
}

func TestStravaExportFaults(t *testing.T) {
	t.Parallel()
	const good = `2,"Oct 6, 2022, 11:19:20 PM",Run,Run,9,,,9,9,1000,,,,,,` + "\n"
	row := func(id, date, distance, gain string) string {
		return id + `,"` + date + `",Run,Run,9,,,9,9,` + distance + ",," + gain + ",,,,\n"
	}
	const date = "Oct 6, 2022, 11:19:20 PM"
	for _, c := range []struct {
		name, in string
		want     outcome
	}{
		{"header alone", "", outcome{}},
		{"yoga", strings.Replace(good, "Run,Run", "Yoga,Yoga", 1) + good, outcome{ids: []int64{2}}},
		{"NaN", row("1", date, "NaN", "") + good, outcome{ids: []int64{2}, faults: []string{`stdin:2: distance: must be a decimal number, got "NaN"`}}},
		{"infinity", row("1", date, "1", "-inf") + good, outcome{ids: []int64{2}, faults: []string{`elevation gain: must be a decimal number, got "-inf"`}}},
		{"hexadecimal", row("1", date, "0x1p4", ""), outcome{faults: []string{`distance: must be a decimal number, got "0x1p4"`}}},
		{"underscore", row("1", date, "1_000", ""), outcome{faults: []string{`got "1_000"`}}},
		{"decimal comma", row("1", date, `"1,5"`, ""), outcome{faults: []string{`got "1,5"`}}},
		{"overflow", row("1", date, "1e999", ""), outcome{faults: []string{`distance: must be a decimal number, got "1e999"`}}},
		{"out of range", row("1", date, "1e300", ""), outcome{faults: []string{"distance_miles: must lie between 0 and 1e+09"}}},
		{"negative", row("1", date, "-1", ""), outcome{faults: []string{"distance: must not be negative, got -1"}}},
		{"no id", row("", date, "1", ""), outcome{faults: []string{"activity id: is required"}}},
		{"negative id", row("-1", date, "1", ""), outcome{faults: []string{`activity id: must be a positive integer, got "-1"`}}},
		{"id too large", row("99999999999999999999", date, "1", ""), outcome{faults: []string{`got "99999999999999999999"`}}},
		{"impossible date", row("1", "Feb 30, 2022, 11:19:20 PM", "1", ""), outcome{faults: []string{`activity date: must be a time that exists, as "Oct 6, 2022, 11:19:20 PM" or "6 Oct 2022, 23:19:20", got "Feb 30, 2022, 11:19:20 PM"`}}},
		{"several", row("x", "", "y", ""), outcome{faults: []string{`stdin:2: activity id: must be a positive integer, got "x"; distance: must be a decimal number, got "y"; activity date: must`}}},
		{"NUL", strings.Replace(good, "Run,", "R\x00n,", 1), outcome{faults: []string{"stdin:2: name: holds a NUL byte"}}},
		{"invalid UTF-8", strings.Replace(good, "Run,", "R\xffn,", 1), outcome{faults: []string{"stdin:2: name: is not valid UTF-8"}}},
		{"a single field", "1\n" + good, outcome{ids: []int64{2}, faults: []string{"stdin:2: has 1 field, the header has 16"}}},
		{"too few fields", "1,2,3\n" + good, outcome{ids: []int64{2}, faults: []string{"stdin:2: has 3 fields, the header has 16"}}},
		{"too many fields", strings.TrimSpace(good) + ",\n" + good, outcome{ids: []int64{2}, faults: []string{"stdin:2: has 17 fields"}}},
		{"bare quote", "1,a\"b\n" + good, outcome{ids: []int64{2}, faults: []string{"stdin:2: column 4: bare \" in non-quoted-field"}}},
		{"line numbers", "\n" + strings.Replace(good, "Run,", "\"a\nb\",", 1) + row("1", date, "x", ""), outcome{ids: []int64{2}, faults: []string{"stdin:5: distance"}}},
		{"quote left open", "1,\"x\n" + good + good + good, outcome{ids: []int64{2, 2}, faults: []string{"stdin:2: a quote is left open, lines 2 to 3 cannot be read"}}},
		{"quote open to the end", good + "1,\"x\n3,4\n5,6\n", outcome{ids: []int64{2}, final: "stdin:3: a quote is left open up to the end of the file"}},
		{"quote open for ever", good + "1,\"x\n" + strings.Repeat("3,4\n", maxRecordBytes), outcome{ids: []int64{2}, final: "read stdin behind line 2: the record is longer than 1 MiB: is a quote left open?"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			checkOutcome(t, exportHeader+c.in, Options{Format: StravaExport, UserID: 7}, c.want)
		})
	}
}

func TestStravaExportHeader(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Activity ID,Activity Date,Activity Name,Activity Type\n": "stdin:1: the header lacks Elapsed Time, Distance: expected the columns Activity ID, Activity Date, Activity Name, Activity Type, Elapsed Time, Distance, named in English, German, French, Spanish, Portuguese, Dutch, Japanese or Italian, got",
		"Aktivitäts-ID,Aktivitätsdatum\n":                         `the header lacks Activity Name, Activity Type, Elapsed Time, Distance: expected`,
		"ID aktivity,Datum\n":                                     `the header lacks Activity ID, Activity Date, Activity Name, Activity Type, Elapsed Time, Distance: expected`,
		"Aktivit\xe4ts-ID;Aktivit\xe4tsdatum\n":                   `stdin:1: the header is not UTF-8, got "Aktivit�ts-ID,Aktivit�tsdatum": save the file as UTF-8, or take it as Strava made it`,
		"\n\n":                                                    "is empty but for blanks",
		"a\"b\n":                                                  "read the header of stdin",
	} {
		checkOutcome(t, in, Options{Format: StravaExport, UserID: 7}, outcome{final: want})
	}
	// Columns may move, repeat and be added, and a byte order mark may come first.
	moved := "\ufeffNew,Distance,Activity Type,Activity Name,Activity Date,Activity ID,Elapsed Time\nx,1,Run,n,\"Oct 6, 2022, 11:19:20 PM\",5,60\n"
	checkOutcome(t, moved, Options{Format: StravaExport, UserID: 7}, outcome{ids: []int64{5}})
}
