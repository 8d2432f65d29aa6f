package python

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestOddInputs: they are refused with their place and field, or accepted with their
// evident meaning.
func TestOddInputs(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			app, pool := newApplication(t, driver), dbtest.Migrated(t)
			got := app.use(t, pool, "odd")
			want := []string{
				"activities[1]: Out of range float", "activities[0]: 'int' object is not iterable", "activities[0]: object cannot be enqueued",
				"changes[0]: must have a date, got None; changes[0]: must have a date, got None", `invalid input syntax for type integer: "71.5"`, "out of range for type integer",
				"out of range", "a task that is called commits and waits", "activities[0]: distance: must not be negative, got -1; activities[2]: name: must be a text that can be stored",
				"activities[0]: must be an object, got None", "activities[0]: sport_type: must be a text that can be stored, got 5", "activities[0]: distance: must be a number",
				"activities[0]: id: must be a positive integer, got -4", "activities[0]: start_date_local: must lie between 1900 and 2999, got '1700-01-01'", "activities[0]: start_date: must lie between 1900 and 2999",
				"1 6",
			}
			lines := strings.Split(got, "\n")
			for i, part := range want {
				if i >= len(lines) || !strings.Contains(lines[i], part) {
					t.Errorf("line %d lacks %q of\n%s", i, part, got)
				}
			}
			drain(t, pool)
			const stored = `SELECT string_agg(concat_ws(' ', activity_id, user_id, date), ', ' ORDER BY activity_id) FROM activities`
			if diff := cmp.Diff("5 7 2025-09-28, 12000000077 57 2025-09-28, 12345678901234567 57 2025-09-28", text(t, pool, stored)); diff != "" {
				t.Errorf("activities (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRefusalTakesBackEveryJob: even on a connection with autocommit.
func TestRefusalTakesBackEveryJob(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			app, pool := newApplication(t, driver), dbtest.Migrated(t)
			if got := app.use(t, pool, "all_or_nothing"); !strings.Contains(got, "activities[1700]") {
				t.Errorf("refused: %s", got)
			}
			want(t, text(t, pool, jobsQuery), "none", "jobs")
		})
	}
}

// TestTaskBeforeItsCommit: the task is not done, because workers cannot see it yet.
func TestTaskBeforeItsCommit(t *testing.T) {
	t.Parallel()
	for _, driver := range drivers {
		t.Run(driver, func(t *testing.T) {
			t.Parallel()
			app, pool := newApplication(t, driver), dbtest.Migrated(t)
			want(t, app.use(t, pool, "task_before_commit"), "PENDING False\nwait: the connection is in a transaction; commit it first, workers see its jobs only then", "before the commit")
		})
	}
}
