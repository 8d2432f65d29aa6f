package activityfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trainingmonkey/worker/jobs"
)

// readAll reads to the end and returns the activities, the faults of single records,
// and the error that ended it, nil for the end of the file.
func readAll(t testing.TB, r *Reader) (activities []jobs.Activity, faults []string, final error) {
	t.Helper()
	for {
		activity, err := r.Next()
		var fault *RecordError
		switch {
		case err == nil:
			activities = append(activities, activity)
		case errors.As(err, &fault):
			faults = append(faults, err.Error())
		default:
			if _, again := r.Next(); !errors.Is(again, err) {
				t.Errorf("Next() after the end = %v, want %v again", again, err)
			}
			if errors.Is(err, io.EOF) {
				return activities, faults, nil
			}
			return activities, faults, err
		}
	}
}

// readText reads text as if from standard input.
func readText(t testing.TB, text string, o Options) (activities []jobs.Activity, faults []string, final error) {
	t.Helper()
	r, err := Open("-", strings.NewReader(text), o)
	if err != nil {
		return nil, nil, err
	}
	return readAll(t, r)
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func pacific(t testing.TB) *time.Location {
	t.Helper()
	where, err := time.LoadLocation("US/Pacific")
	if err != nil {
		t.Fatal(err)
	}
	return where
}

// outcome is what a case expects: the ids read, and the faults of single records and
// the final error, both as substrings.
type outcome struct {
	ids    []int64
	faults []string
	final  string
}

func checkOutcome(t *testing.T, text string, o Options, want outcome) {
	t.Helper()
	activities, faults, final := readText(t, text, o)
	var ids []int64
	for i := range activities {
		ids = append(ids, activities[i].ActivityID)
	}
	if diff := cmp.Diff(want.ids, ids); diff != "" {
		t.Errorf("ids of %.80q (-want +got):\n%s\nfaults %q, final %v", text, diff, faults, final)
	}
	if len(faults) != len(want.faults) {
		t.Errorf("faults of %.80q = %q, want %q", text, faults, want.faults)
	} else {
		for i := range faults {
			if !strings.Contains(faults[i], want.faults[i]) {
				t.Errorf("fault %d of %.80q = %q, want %q", i, text, faults[i], want.faults[i])
			}
		}
	}
	switch {
	case want.final == "" && final != nil:
		t.Errorf("reading %.80q ended with %v, want the end of the file", text, final)
	case want.final != "" && (final == nil || !strings.Contains(final.Error(), want.final)):
		t.Errorf("reading %.80q ended with %v, want %q", text, final, want.final)
	}
}
