package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestBarFitsTheTerminal: at any width, with what was counted, the rate and the time left.
func TestBarFitsTheTerminal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		width int
		want  string
	}{
		{80, "reading /…   42 %  [========            ]  65,536 activities, 6,553/s, 14s left"},
		{60, "reading /home…   42 %  65,536 activities, 6,553/s, 14s left"},
		{40, " 42 %  65,536 activities, 6,553/s"},
	} {
		var out bytes.Buffer
		now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
		b := (&Program{Err: &out}).NewBar(153_941, "reading /home/someone/exports/activities.csv", "activity", "activities")
		b.columns, b.now, b.shown = func() int { return c.width }, func() time.Time { return now }, time.Time{}
		b.Count(0, 0)
		now = now.Add(10 * time.Second)
		b.Count(65_000, 65_536)
		drawn := strings.Split(out.String(), "\r")
		if got := strings.TrimRight(drawn[len(drawn)-1], " "); got != c.want {
			t.Errorf("%d columns:\n%q, want\n%q", c.width, got, c.want)
		}
		for _, line := range drawn {
			if n := len([]rune(line)); n >= c.width {
				t.Errorf("%d columns: a line has %d", c.width, n)
			}
		}
		b.Say("a line")
		b.Finish()
		if said := out.String(); !strings.HasSuffix(said, " \ra line\n") || strings.Contains(said, "||") {
			t.Errorf("Say and Finish leave %q", said)
		}
	}
}

// TestBarWithoutTerminal: without a terminal, a whole line is printed at intervals, and
// none for short work.
func TestBarWithoutTerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := time.Now()
	b := (&Program{Err: &out}).NewBar(2000, "storing activities", "job", "jobs")
	b.now, b.shown = func() time.Time { return now }, now
	b.Set(500)
	now = now.Add(plainInterval)
	b.Set(1000)
	now = now.Add(time.Second)
	b.Set(1500)
	b.Finish()
	if got, want := out.String(), "storing activities   50 %  1,000 of 2,000 jobs, 100/s, 10s left\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	out.Reset()
	for total, want := range map[int64]string{0: "reading  1 activity\n", 1: "reading  100 %  1 of 1 activity\n", 2: "reading   50 %  1 of 2 activities\n"} {
		b := (&Program{Err: &out}).NewBar(total, "reading", "activity", "activities")
		b.shown = time.Time{}
		b.Set(1)
		if got := out.String(); got != want {
			t.Errorf("printed %q, want %q", got, want)
		}
		out.Reset()
	}
}
