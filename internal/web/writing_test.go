package web_test

import (
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestPageSaysWhatIsNotWritten: results that are only compared do not count as fresh.
func TestPageSaysWhatIsNotWritten(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t), func(c *config.Config) { c.ACWR.Write = "compare" })
	var sixty []jobs.Activity
	for day := range 60 {
		sixty = append(sixty, activity(int64(day+1), 7, day))
	}
	r.run()
	r.waitForReason("", noticed)
	r.enqueue(sixty...)
	r.value(`tmworker_jobs_worked_total{kind="acwr_recalc"`, soon, above(0))
	r.takeSnapshot()
	page := r.get("/").Body.String()
	for _, want := range []string{
		`<h1 id="headline">Results are not written</h1>`, `<section class="headline warning"`,
		"acwr.write is compare: results are computed and compared, and not written. 60 rows have no results.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "Every activity") || strings.Contains(page, "Fresh") {
		t.Error("the page says that results are fresh")
	}
	r.value(`tmworker_processes_writing{write="compare"}`, soon, is(1))
	r.value(`tmworker_processes_writing{write="on"}`, soon, is(0))
	r.value(`tmworker_rows_without_results`, soon, is(60))
	athlete := r.get("/athlete?user=7&to=2025-03-31").Body.String()
	if !strings.Contains(athlete, `<span class="tag warning">not written</span> acwr.write is compare: results are computed and compared, and not written. The values below`) {
		t.Errorf("the athlete's page does not say that no results are written:\n%s", athlete)
	}
	if !strings.Contains(athlete, "not stored like this yet: acwr.write is compare") || strings.Contains(athlete, "still to come") {
		t.Errorf("the athlete's page promises a recalculation:\n%s", athlete)
	}
}
