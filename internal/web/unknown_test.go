package web_test

import (
	"strings"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestPageWithTheDatabaseAway: the page marks unknown values as unknown, and old ones
// with their age.
func TestPageWithTheDatabaseAway(t *testing.T) {
	t.Parallel()
	through, proxy := proxied(t, dbtest.MigratedURL(t))
	r := newRig(t, through)
	r.run()
	r.waitForReason("", noticed)
	r.exec(`INSERT INTO ingest_rejects (job_id, payload, reason) VALUES (1, '{}', 'injected')`)
	r.takeSnapshot()
	if page := r.get("/").Body.String(); !strings.Contains(page, `<h1 id="headline">Fresh</h1>`) || strings.Contains(page, "ago</span>") {
		t.Errorf("before the outage the page is not fresh, or gives an age:\n%s", page)
	}
	proxy.Stop()
	r.waitForReason("database", noticed)
	page := r.get("/").Body.String()
	for _, want := range []string{
		`<h1 id="headline">Unknown</h1>`, "whether activities wait is not known. It was last read ", " ago: 1 activity was rejected within a day",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, never := range []string{"Every activity", "No job waits", "Fresh"} {
		if strings.Contains(page, never) {
			t.Errorf("the page says %q", never)
		}
	}
	for _, section := range []string{"queues", "hour", "workers", "backfills", "discarded", "rejects"} {
		_, heading, _ := strings.Cut(page, `<h2 id="`+section+`">`)
		if heading, _, _ = strings.Cut(heading, "</h2>"); !strings.HasSuffix(heading, " ago</span>") {
			t.Errorf("the heading %q does not say how old its section is", heading)
		}
	}
	if t.Failed() {
		t.Log(page)
	}
	r.gone(`tmworker_freshness_seconds{lane="live"}`, 40*time.Second)
}

// TestHeadlineIsOfAllProcesses: faults of only the process that shows the page are
// listed as its own.
func TestHeadlineIsOfAllProcesses(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t)) // its readiness does not run
	r.exec(`INSERT INTO worker_processes (client_id, beat_at, acwr_write, acwr_rollout_percent) VALUES ('another', now() + interval '1 hour', 'on', 100)`)
	r.takeSnapshot()
	page := r.get("/").Body.String()
	for _, want := range []string{`<h1 id="headline">This process is not ready</h1>`, "<p>Of all processes together: Fresh. No job waits.</p>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	r.exec(`DELETE FROM worker_processes`)
	r.takeSnapshot()
	if page := r.get("/").Body.String(); !strings.Contains(page, `<h1 id="headline">Trouble</h1>`) {
		t.Errorf("faults of all processes do not come first:\n%s", page)
	}
}

// TestCancelledJobsAreShown: like discarded ones, on the page and in the metrics.
func TestCancelledJobsAreShown(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.exec(`INSERT INTO river.river_job (state, kind, queue, args, max_attempts, finalized_at, errors)
		VALUES ('cancelled', 'activity_ingest', 'ingest', '{}', 25, now(), array[jsonb_build_object('error', 'args do not decode')])`)
	r.takeSnapshot()
	page := r.get("/").Body.String()
	for _, want := range []string{"1 job was cancelled within a day, and not worked.", `<h2 id="cancelled">Cancelled jobs</h2>`, `<td class="text">args do not decode</td>`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	r.value(`tmworker_queue_jobs{queue="ingest",state="cancelled"}`, soon, is(1))
}
