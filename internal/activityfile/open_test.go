package activityfile

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/trainingmonkey/worker/internal/trainingload"
)

func TestParseFormat(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Format{"": Auto, "auto": Auto, "ndjson": NDJSON, "json": JSON, "strava-api": StravaAPI, "strava-export": StravaExport} {
		if got, err := ParseFormat(in); got != want || err != nil {
			t.Errorf("ParseFormat(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	want := `format must be one of auto, ndjson, json, strava-api, strava-export, got "csv"`
	if got, err := ParseFormat("csv"); err == nil || err.Error() != want {
		t.Errorf("ParseFormat(csv) = %q, %v, want %q", got, err, want)
	}
}

func TestDetection(t *testing.T) {
	t.Parallel()
	const own = `{"activity_id":1,"user_id":7,"date":"2026-01-31"}`
	manyFields := `{"name":"` + strings.Repeat("x", 2000) + `",` + own[1:]
	for _, c := range []struct {
		in   string
		want Format
	}{
		{own, NDJSON},
		{own + "\n" + own + "\n", NDJSON},
		{"\n\n  " + own + "\r\n", NDJSON},
		{`{"activity_id":1,"name":"start_date"}` + "\n" + own, NDJSON},
		{`{"deleted":true}` + "\n", NDJSON},
		{manyFields + "\n" + manyFields, NDJSON},
		{"{\n \"activity_id\": 1,\n \"user_id\": 7\n}", JSON},
		{"[" + own + "]", JSON},
		{"[\n" + own + "\n]", JSON},
		{"[]", JSON},
		{"[1]", JSON},
		{`{"activities":[` + own + `]}`, JSON},
		{"{\n\"activities\" : [\n" + own + "]}", JSON},
		{"[" + trailRun + "]", StravaAPI},
		{"\ufeff[\n" + trailRun + "]", StravaAPI},
		{`{"activities":[` + trailRun + `]}`, StravaAPI},
		{trailRun, StravaAPI},
		{`[{"id":1,"name":"activity_id","start_date":"x"}]`, StravaAPI},
		{"Activity ID,Activity Date,Activity Name,Activity Type,Elapsed Time,Distance\n", StravaExport},
		{"\ufeff\"Activity ID\",Activity Date,Activity Name,Activity Type,Elapsed Time,Distance\n", StravaExport},
	} {
		for name, in := range map[string]io.Reader{
			"whole": strings.NewReader(c.in), "by bytes": iotest.OneByteReader(strings.NewReader(c.in)), "with its end": iotest.DataErrReader(strings.NewReader(c.in)),
		} {
			r, err := Open("-", in, Options{UserID: 7})
			if err != nil {
				t.Errorf("Open(%.60q %s) = %v, want %s", c.in, name, err, c.want)
			} else if r.format != c.want {
				t.Errorf("Open(%.60q %s) reads %s, want %s", c.in, name, r.format, c.want)
			}
		}
	}
}

// TestPipeIsReadAsItComes: to detect the format, Auto must not wait for more of a pipe
// than the first activity.
func TestPipeIsReadAsItComes(t *testing.T) {
	t.Parallel()
	in, out := io.Pipe()
	t.Cleanup(func() { _ = out.Close() })
	read := make(chan int64)
	go func() {
		defer close(read)
		r, err := Open("-", in, Options{})
		for err == nil {
			activity, nextErr := r.Next()
			if err = nextErr; err == nil {
				read <- activity.ActivityID
			}
		}
	}()
	for want, line := range []string{`{"activity_id":1,"user_id":7,"date":"2026-01-31"}`, `{"activity_id":2,"user_id":7,"date":"2026-01-31"}`} {
		for _, part := range []string{line[:3], line[3:20], line[20:] + "\n"} {
			if _, err := io.WriteString(out, part); err != nil {
				t.Fatal(err)
			}
		}
		if got := <-read; got != int64(want+1) {
			t.Fatalf("read activity %d after %s", got, line)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	user := Options{UserID: 7}
	directory := t.TempDir()
	for _, c := range []struct {
		name, path, stdin string
		o                 Options
		want              string
	}{
		{"missing", filepath.Join(directory, "none.csv"), "", user, "none.csv: no such file or directory"},
		{"directory", directory, "", user, directory + ": is a directory without activities.csv: give a file, or the folder of an unpacked export"},
		{"empty", writeFile(t, "a.csv", ""), "", user, "a.csv: is empty"},
		{"empty but for the mark", "-", "\ufeff", user, "open stdin: is empty"},
		{"blank", "-", " \n ", user, "open stdin: is empty but for blanks"},
		{"text", "-", "hello", user, `open stdin: cannot determine the format from the content, which starts with "hello": name one of ndjson, json, strava-api, strava-export`},
		{"binary", "-", "\x00\x01\x02", user, `starts with "\x00\x01\x02"`},
		{"almost an export", "-", "Activity I", user, "cannot determine the format"},
		{"UTF-16", "-", "\xff\xfe[\x00", user, "open stdin: is UTF-16, save it as UTF-8"},
		{"zip on stdin", "-", "PK\x03\x04....", user, "open stdin: a zip archive must be a file"},
		{"broken zip", writeFile(t, "a.zip", "PK\x03\x04...."), "", user, "a.zip: zip: not a valid zip file"},
		{"broken gzip", writeFile(t, "a.gz", "\x1f\x8b...."), "", user, "a.gz: unexpected EOF"},
		{"export in a language that is not known", writeFile(t, "a.csv", "ID aktivity,Datum\n"), "", user, "a.csv:1: the header lacks Activity ID"},
		{"no user for the API", "-", "[" + trailRun + "]", Options{}, "open stdin: strava-api does not say whose activities these are: name the user with --user"},
		{"no user for the export", "testdata/activities.csv", "", Options{}, "testdata/activities.csv: strava-export does not say whose"},
		{"negative user", "-", "[]", Options{UserID: -1}, "user must be a positive number, got -1"},
		{"heart rate", "-", "[]", Options{HeartRate: trainingload.HeartRate{Resting: 100, Max: 90}}, "maximum heart rate must be above"},
		{"format", "-", "[]", Options{Format: "xml"}, `got "xml"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := Open(c.path, strings.NewReader(c.stdin), c.o)
			if err == nil {
				_ = r.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Open() = %v, want %q in one line", err, c.want)
			}
		})
	}
	if _, err := Open(filepath.Join(directory, "none"), nil, user); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open(none) = %v, want fs.ErrNotExist", err)
	}
}

func newZip(t *testing.T, names ...string) string {
	t.Helper()
	export, err := os.ReadFile("testdata/activities.csv")
	if err != nil {
		t.Fatal(err)
	}
	var data bytes.Buffer
	archive := zip.NewWriter(&data)
	for _, name := range names {
		entry, err := archive.Create(name)
		if err == nil {
			_, err = entry.Write(export)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return data.String()
}

func TestZip(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		format     Format
		want       string // error, empty: 12 activities
	}{
		{"at the top", newZip(t, "profile.csv", "activities.csv", "__MACOSX/._activities.csv"), Auto, ""},
		{"in a folder", newZip(t, "export_1/activities.csv", "export_1/activities/1.gpx"), StravaExport, ""},
		{"none", newZip(t, "profile.csv", "my_activities.csv"), Auto, "x.zip: holds no activities.csv, so it is not the bulk export of Strava"},
		{"empty", newZip(t), Auto, "x.zip: holds no activities.csv"},
		{"two", newZip(t, "a/activities.csv", "b/activities.csv"), Auto, "x.zip: holds 2 files activities.csv (a/activities.csv, b/activities.csv), unpack the one to read"},
		{"other format", newZip(t, "activities.csv"), NDJSON, "activities.csv: a zip archive can only be strava-export, got format ndjson"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, err := Open(writeFile(t, "x.zip", c.text), nil, Options{UserID: 7, Format: c.format})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("Open() = %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, faults, final := readAll(t, r)
			if len(got) != 12 || faults != nil || final != nil {
				t.Errorf("reading gave %d activities, %q, %v", len(got), faults, final)
			}
			if r.Size() == 0 || r.BytesRead() != r.Size() {
				t.Errorf("BytesRead() = %d, Size() = %d, want the same", r.BytesRead(), r.Size())
			}
			if err := r.Close(); err != nil {
				t.Errorf("Close() = %v", err)
			}
		})
	}
}

func TestFaultInZipNamesTheEntry(t *testing.T) {
	t.Parallel()
	var data bytes.Buffer
	archive := zip.NewWriter(&data)
	entry, err := archive.Create("export/activities.csv")
	if err == nil {
		_, err = io.WriteString(entry, exportHeader+"1,2\n")
	}
	if err = errors.Join(err, archive.Close()); err != nil {
		t.Fatal(err)
	}
	file := writeFile(t, "x.zip", data.String())
	r, err := Open(file, nil, Options{UserID: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // read only
	if _, err := r.Next(); err == nil || !strings.HasPrefix(err.Error(), file+"/export/activities.csv:2: ") {
		t.Errorf("Next() = %v, want the place in the entry", err)
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	line := `{"activity_id":1,"user_id":7,"date":"2026-01-31"}` + "\n"
	var data bytes.Buffer
	packed := gzip.NewWriter(&data)
	if _, err := io.WriteString(packed, strings.Repeat(line, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := packed.Close(); err != nil {
		t.Fatal(err)
	}
	whole := data.String()
	activities, faults, final := readText(t, whole, Options{})
	if len(activities) != 1000 || faults != nil || final != nil {
		t.Errorf("reading gave %d activities, %q, %v", len(activities), faults, final)
	}

	// A truncated stream must not pass for a complete file.
	_, _, final = readText(t, whole[:len(whole)-10], Options{})
	if !errors.Is(final, io.ErrUnexpectedEOF) || !strings.Contains(final.Error(), "read stdin:") {
		t.Errorf("reading a truncated file ended with %v, want the place and io.ErrUnexpectedEOF", final)
	}
}

func TestReadErrorIsFinal(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is gone")
	for format, text := range map[Format]string{
		NDJSON:       `{"activity_id":1,"user_id":7,"date":"2026-01-31"}` + "\n" + `{"activity_id":2,`,
		JSON:         `[{"activity_id":1,"user_id":7,"date":"2026-01-31"},` + "\n" + `{"activity_id":2,`,
		StravaAPI:    `[{"id":1,"start_date_local":"2026-01-31T16:20:00Z"},{`,
		StravaExport: exportHeader + `1,"Oct 6, 2022, 11:19:20 PM",Run,Run,9,,,9,9,1000,,,,,,` + "\n2,",
	} {
		r, err := Open("-", io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)), Options{Format: format, UserID: 7})
		if err != nil {
			t.Errorf("Open(%s) = %v", format, err)
			continue
		}
		activities, faults, final := readAll(t, r)
		if len(activities) != 1 || faults != nil || !errors.Is(final, broken) || !strings.Contains(final.Error(), "stdin") {
			t.Errorf("reading %s gave %d activities, %q, %v, want 1 and %v with the file", format, len(activities), faults, final, broken)
		}
	}
}

func TestSkipped(t *testing.T) {
	t.Parallel()
	r, err := Open("-", strings.NewReader(`[{"id":1,"sport_type":"Yoga"},{"id":2,"type":"Run","start_date_local":"2026-01-31T16:20:00Z"},{"id":3,"type":"Golf"}]`), Options{Format: StravaAPI, UserID: 7})
	if err != nil {
		t.Fatal(err)
	}
	if activities, _, _ := readAll(t, r); len(activities) != 1 || r.Skipped() != 2 {
		t.Errorf("read %d, Skipped() = %d, want 1 and 2", len(activities), r.Skipped())
	}
	if r.Size() != 0 || r.BytesRead() == 0 {
		t.Errorf("Size() = %d, BytesRead() = %d, want 0 and what was read", r.Size(), r.BytesRead())
	}
}
