package web_test

import (
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestLastHourIsOfAllProcesses: a process that has just started shows what others did,
// even those that have ended.
func TestLastHourIsOfAllProcesses(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.MigratedURL(t)
	fresh := newRig(t, databaseURL)
	fresh.takeSnapshot()
	section := func() string {
		_, section, _ := strings.Cut(fresh.get("/").Body.String(), `<h2 id="hour">`)
		section, _, _ = strings.Cut(section, "</section>")
		return section
	}
	if got := section(); !strings.Contains(got, "all processes</span>") || !strings.Contains(got, "No job was worked.") {
		t.Errorf("with no work done the section is %s", got)
	}
	for user := range int32(2) {
		gone := newRig(t, databaseURL)
		for day := range 50 {
			gone.enqueue(activity(int64(user*100+int32(day)+1), user+1, day))
		}
		if err := gone.service.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		gone.pool.Close()
	}
	// Both wrote when they ended; those ten seconds are shown when they are over.
	fresh.exec(`UPDATE river.worker_throughput SET bucket = bucket - interval '10 seconds'`)
	fresh.takeSnapshot()
	got := section()
	for _, want := range []string{"all processes, 100 jobs</span>", "Jobs committed per second over the last hour, at most 1.", "Time from a job&#39;s insertion to its commit", `class="series2"`} {
		if !strings.Contains(got, want) {
			t.Errorf("the section lacks %q:\n%s", want, got)
		}
	}
	for _, never := range []string{"this process", "NaN", "%!"} {
		if strings.Contains(got, never) {
			t.Errorf("the section has %q:\n%s", never, got)
		}
	}
}
