package localpg

import (
	"os"
	"runtime"
	"testing"
)

// TestStopLeaksNothing is not parallel, because it counts what the whole process has open.
func TestStopLeaksNothing(t *testing.T) {
	stop(t, startServer(t, Options{})) // the first start initializes things that stay
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 2 {
		s := startServer(t, Options{})
		if err := s.Restart(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		stop(t, s)
	}
	if got := openFiles(t); got > files {
		t.Errorf("%d open files, %d before", got, files)
	}
	eventually(t, "goroutines gone", func() bool { return runtime.NumGoroutine() <= goroutines })
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
