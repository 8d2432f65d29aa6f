package admin

import (
	"log/slog"
	"testing"
	"time"
)

// TestWorkersShareTheSnapshots: while no snapshot is requested, eight workers query the
// database little more often than one; a request does not wait for that.
func TestWorkersShareTheSnapshots(t *testing.T) {
	t.Parallel()
	w := NewWatch(nil, options, slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		alive, dead int
		took        time.Duration
		pause, more time.Duration
	}{
		{0, 0, 0, 5 * time.Second, 0},
		{1, 3, time.Millisecond, 5 * time.Second, 0},
		{2, 0, time.Millisecond, 5 * time.Second, 5 * time.Second},
		{8, 0, time.Millisecond, 5 * time.Second, 15 * time.Second},
		{3, 0, 400 * time.Millisecond, 8 * time.Second, 15 * time.Second},
	} {
		w.newest.Processes = make([]Process, c.alive+c.dead)
		for i := range c.alive {
			w.newest.Processes[i].Alive = true
		}
		if pause, more := w.pauses(c.took); pause != c.pause || more != c.more {
			t.Errorf("with %d alive and %d dead workers, after %v: %v and %v more, want %v and %v", c.alive, c.dead, c.took, pause, more, c.pause, c.more)
		}
	}
	if len(w.asked) != 0 {
		t.Fatal("a snapshot is requested before Latest was called")
	}
	w.Latest()
	w.Latest()
	if len(w.asked) != 1 {
		t.Error("Latest did not request a snapshot from Run")
	}
}
