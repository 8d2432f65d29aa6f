package activityfile

import (
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trainingmonkey/worker/jobs"
)

// summary is the part of an exported activity that tests compare.
func summary(a jobs.Activity) string {
	return fmt.Sprintf("%d %s %s %s: %v miles, load %v, %v min, TRIMP %v", a.ActivityID, a.Date, value(a.StartTime), value(a.Type),
		value(a.DistanceMiles), value(a.TotalLoadMiles), value(a.DurationMinutes), value(a.Trimp))
}

func readFile(t *testing.T, path string, o Options) (summaries []string, reader *Reader) {
	t.Helper()
	r, err := Open(path, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // read only
	got, faults, final := readAll(t, r)
	if len(faults) > 0 || final != nil {
		t.Errorf("%s: %q, %v", path, faults, final)
	}
	for i := range got {
		summaries = append(summaries, summary(got[i]))
	}
	return summaries, r
}

func berlin(t *testing.T) *time.Location {
	t.Helper()
	location, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return location
}

// TestExportsInAllLanguages has the same run of 9.44 km and the same swim of 1,500 m,
// whose second distance is empty, in every language and column layout.
func TestExportsInAllLanguages(t *testing.T) {
	t.Parallel()
	const (
		run  = "101 2022-12-09 16:24:49 Run: 5.87 miles, load 6.19, 50 min, TRIMP 115.6"
		swim = "102 2022-12-11 00:30:00 Swim: 0.93 miles, load 3.73, 30 min, TRIMP 0"
	)
	withoutHeartRate := strings.Replace(run, "115.6", "0", 1)
	withoutClimb := strings.Replace(withoutHeartRate, "load 6.19", "load 5.87", 1)
	for name, want := range map[string][]string{
		"english_newest":           {run, swim},
		"english_uk":               {run, swim},
		"english_resaved":          {run, swim},
		"english_before_july_2019": {withoutClimb, swim},
		"german":                   {run, swim},
		"german_resaved":           {run, swim},
		"french":                   {run, swim},
		"spanish":                  {run, swim},
		"portuguese":               {run, swim},
		"dutch":                    {run, swim},
		"japanese":                 {withoutHeartRate, swim},
		"italian":                  {run, swim},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := "testdata/exports/" + name + ".csv"
			got, r := readFile(t, path, Options{UserID: 7, Location: berlin(t)})
			if diff := cmp.Diff(want, got); diff != "" || r.format != StravaExport {
				t.Errorf("reading it as %s (-want +got):\n%s", r.format, diff)
			}
			if misses := len(r.Missing()) > 0; misses != (want[0] != run) {
				t.Errorf("Missing() = %v", r.Missing())
			}
			// A pipe has no name that ends in .csv.
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			piped, faults, final := readText(t, string(text), Options{UserID: 7, Location: berlin(t)})
			if len(piped) != len(want) {
				t.Errorf("from a pipe: %d activities, %v, %v", len(piped), faults, final)
			}
		})
	}
}

// TestOtherNamesOfColumns reads a header with the alternative names of columns.
func TestOtherNamesOfColumns(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/exports/italian.csv")
	if err != nil {
		t.Fatal(err)
	}
	others := strings.NewReplacer("ID attività", "ID dell’attività", "Data attività", "Data dell'attività", "Tempo in movimento", "Tempo di movimento").Replace(string(text))
	got, faults, final := readText(t, others, Options{UserID: 7, Location: berlin(t)})
	if len(got) != 2 || *got[0].DurationMinutes != 50 {
		t.Errorf("reading gave %+v, %v, %v, want two activities, the first of 50 minutes", got, faults, final)
	}
}

// TestUnpackedExport reads the folder of an unpacked export, whose file may be compressed.
func TestUnpackedExport(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/exports/german.csv")
	if err != nil {
		t.Fatal(err)
	}
	plain, packed := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(plain, "activities.csv"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(packed, "activities.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	w := gzip.NewWriter(file)
	_, err = w.Write(text)
	for _, fault := range []error{err, w.Close(), file.Close()} {
		if fault != nil {
			t.Fatal(fault)
		}
	}
	for _, folder := range []string{plain, packed} {
		if got, _ := readFile(t, folder, Options{UserID: 7, Location: berlin(t)}); len(got) != 2 {
			t.Errorf("reading a folder gave %v, want 2 activities", got)
		}
	}
}

// TestWhatCannotBeKnownIsRefused: the error has the line and the reason, and the
// following records are read.
func TestWhatCannotBeKnownIsRefused(t *testing.T) {
	t.Parallel()
	english := func(id, date, name, distance string) string {
		return id + `,"` + date + `",` + name + `,Run,3600,"` + distance + `"` + "\n"
	}
	german := func(kind, distance string) string {
		return `5,"09.12.2022, 15:24:49",Lauf,` + kind + `,3600,"` + distance + `"` + "\n"
	}
	const (
		englishHeader = "Activity ID,Activity Date,Activity Name,Activity Type,Elapsed Time,Distance\n"
		germanHeader  = "Aktivitäts-ID,Aktivitätsdatum,Name der Aktivität,Aktivitätsart,Verstrichene Zeit,Distanz\n"
		day           = "Dec 9, 2022, 3:24:49 PM"
	)
	for _, c := range []struct{ name, header, row, want string }{
		{"id of a spreadsheet", englishHeader, english(`"9,23308E+09"`, day, "x", "5"), `stdin:2: activity id: has lost digits to a spreadsheet, got "9,23308E+09": take the file as Strava made it`},
		{"id of another", englishHeader, english("9.23308E+09", day, "x", "5"), "has lost digits"},
		{"day or month", englishHeader, english("5", "12/9/2022 15:24", "x", "5"), `stdin:2: activity date: does not say which is the day and which the month, got "12/9/2022 15:24"`},
		{"day that does not exist", germanHeader, strings.Replace(german("Lauf", "5"), "09.12.", "31.11.", 1), `activity date: must be a time that exists, as "Oct 6, 2022, 11:19:20 PM" or "6 Oct 2022, 23:19:20", got "31.11.2022, 15:24:49"`},
		{"month that is none", englishHeader, english("5", "9 Foo 2022, 15:24:49", "x", "5"), "activity date: must be a time that exists"},
		{"distance that Strava could not write", englishHeader, english("5", day, "x", "#error#"), "stdin:2: distance: is #error#: Strava could not write it"},
		{"id that Strava could not write", englishHeader, english("#error#", day, "x", "5"), `activity id: must be a positive integer, got "#error#"`},
		{"decimal comma in English", englishHeader, english("5", day, "x", "9,44"), `distance: must be a decimal number, got "9,44"`},
		{"wrong groups", germanHeader, german("Lauf", "1.50.000,5"), "distance: must be a decimal number"},
		{"thousands of kilometres", germanHeader, german("Lauf", "1.500"), `distance: has a separator that may be that of decimals or of thousands, got "1.500"`},
		{"either separator", strings.ReplaceAll(englishHeader, ",", ";"), `5;09.12.2022 15:24;x;Swim;3600;1,500` + "\n", `has a separator that may be that of decimals or of thousands, got "1,500"`},
		{"type that nobody knows", germanHeader, german("Fallschirmsprung", "5"), `stdin:2: activity type: is none that is known in the language of the file, so its load cannot be computed, got "Fallschirmsprung"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			good := english("6", day, "y", "5")
			switch {
			case c.header == germanHeader:
				good = strings.Replace(german("Lauf", "5"), "5", "6", 1)
			case strings.Contains(c.header, ";"):
				good = "6;09.12.2022 15:24;x;Run;3600;5,5\n"
			}
			checkOutcome(t, c.header+c.row+good, Options{Format: StravaExport, UserID: 7}, outcome{ids: []int64{6}, faults: []string{c.want}})
		})
	}
}

func TestUnwrittenCellsThatNoLoadNeeds(t *testing.T) {
	t.Parallel()
	got, faults, final := readText(t, exportHeader+`1,"Oct 6, 2022, 11:19:20 PM",#error#,Run,9,#error#,#error#,9,9,1000,#error#,,#error#,,#error#,#error#`+"\n", Options{UserID: 7})
	if len(got) != 1 || got[0].Name != nil || got[0].MaxHeartRate != nil || got[0].AvgTempF != nil || *got[0].TotalLoadMiles != 0.62 {
		t.Errorf("reading gave %+v, %v, %v, want a load of 0.62", got, faults, final)
	}
}

func TestNumbersOfExports(t *testing.T) {
	t.Parallel()
	point, comma, resaved := numberForm{}, numberForm{comma: true}, numberForm{resaved: true}
	displayed, metres := numberForm{comma: true, displayed: true}, numberForm{comma: true, displayed: true, metres: true}
	for _, c := range []struct {
		form numberForm
		cell string
		want float64
		err  error
	}{
		{point, "9440.2", 9440.2, nil},
		{point, "1,500", 1500, nil},
		{point, "1,234,567.8", 1234567.8, nil},
		{point, "1,5", 0, errNoNumber},
		{point, "1.234.567", 0, errNoNumber},
		{point, "1234", 1234, nil},
		{point, "-40", -40, nil},
		{point, "1e3", 1000, nil},
		{point, "1 500", 1500, nil},
		{point, "1 50", 0, errNoNumber},
		{point, "0.123", 0.123, nil},
		{comma, "9,44", 9.44, nil},
		{comma, "9440.2", 9440.2, nil},
		{comma, "1.234,5", 1234.5, nil},
		{comma, "1,234.5", 1234.5, nil},
		{comma, "2.466", 2.466, nil},
		{comma, "2,466", 2.466, nil},
		{comma, "1.234.567", 1234567, nil},
		{comma, "1\u202f234,5", 1234.5, nil},
		{comma, "1,2,3", 0, errNoNumber},
		{comma, "1,5e3", 0, errNoNumber},
		{displayed, "9.44", 9.44, nil},
		{displayed, "1.500", 0, errTwoValues},
		{displayed, "0.500", 0.5, nil},
		{displayed, "1.500,00", 1500, nil},
		{metres, "1.500", 1500, nil},
		{metres, "1,500", 1.5, nil},
		{metres, "900", 900, nil},
		{resaved, "9,44", 9.44, nil},
		{resaved, "1,500", 0, errTwoValues},
		{resaved, "9440.2", 9440.2, nil},
		{resaved, "0,500", 0.5, nil},
		{resaved, "1.234,5", 1234.5, nil},
		{point, "", 0, errNoNumber},
		{point, "NaN", 0, errNoNumber},
		{point, "0x1p4", 0, errNoNumber},
		{point, "1_000", 0, errNoNumber},
		{point, ",", 0, errNoNumber},
		{comma, ",5", 0, errNoNumber},
	} {
		if got, err := c.form.parse(c.cell); got != c.want || err != c.err { //nolint:errorlint // parse returns it unwrapped
			t.Errorf("%+v.parse(%q) = %v, %v, want %v, %v", c.form, c.cell, got, err, c.want, c.err)
		}
	}
}
