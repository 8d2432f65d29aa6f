package groupcommit

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/dbpool"
)

// jobFate is what settling decides of a job.
type jobFate struct {
	State     string
	Attempt   int
	Errors    []string
	Metadata  string
	Finalized bool
	Wait      time.Duration // until it may run again, in whole seconds
}

func fateInDatabase(t *testing.T, pool *dbpool.Pool, id int64) jobFate {
	t.Helper()
	var f jobFate
	var seconds float64
	err := pool.QueryRow(t.Context(), `
		SELECT state, attempt, ARRAY(SELECT concat(e->>'attempt', ': ', e->>'error') FROM unnest(errors) AS e),
		       metadata::text, finalized_at IS NOT NULL, round(extract(epoch FROM scheduled_at - now()))::float8
		FROM river.river_job WHERE id = $1`, id).Scan(&f.State, &f.Attempt, &f.Errors, &f.Metadata, &f.Finalized, &seconds)
	if err != nil {
		t.Fatal(err)
	}
	f.Wait = time.Duration(max(seconds, 0)) * time.Second
	return f
}

// failing is an Apply that fails with err.
func failing(err error) Apply[effectArgs] {
	return func(context.Context, pgx.Tx, []*river.Job[effectArgs]) error { return err }
}

// silent fails the test unless River, told this verdict, would write nothing.
func silent(t *testing.T, verdict error) {
	t.Helper()
	v, ok := verdict.(interface { // River asserts on the error as it is
		Jobs() []*rivertype.JobRow
		ErrorsByID() map[int64]error
	})
	if !ok || len(v.Jobs()) > 0 || len(v.ErrorsByID()) > 0 {
		t.Errorf("verdict %v lets River write", verdict)
	}
	if strings.ContainsRune(verdict.Error(), 0) {
		t.Errorf("verdict %q holds a NUL: somebody will wrap it", verdict)
	}
}

func TestFates(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	broken := errors.New("broken")
	const attempts3 = `attempt = 3, errors = ARRAY['{"attempt": 1, "error": "one"}', '{"attempt": 2, "error": "two"}']::jsonb[]`
	const cancelled = `metadata = '{"cancel_attempted_at": "2025-01-01T00:00:00Z"}'`
	for name, c := range map[string]struct {
		verdict error
		set     string // of the running job
		want    jobFate
	}{
		"first error":       {broken, ``, jobFate{State: "available", Attempt: 1, Errors: []string{"1: broken"}, Metadata: "{}", Wait: time.Second}},
		"third error":       {broken, attempts3, jobFate{State: "retryable", Attempt: 3, Errors: []string{"1: one", "2: two", "3: broken"}, Metadata: "{}", Wait: 81 * time.Second}},
		"last error":        {broken, `attempt = 25`, jobFate{State: "discarded", Attempt: 25, Errors: []string{"25: broken"}, Metadata: "{}", Finalized: true}},
		"beyond the last":   {broken, `attempt = 26`, jobFate{State: "discarded", Attempt: 26, Errors: []string{"26: broken"}, Metadata: "{}", Finalized: true}},
		"cancel":            {river.JobCancel(broken), ``, jobFate{State: "cancelled", Attempt: 1, Errors: []string{"1: JobCancelError: broken"}, Metadata: "{}", Finalized: true}},
		"short snooze":      {river.JobSnooze(3 * time.Second), ``, jobFate{State: "available", Metadata: `{"snoozes": 1}`, Wait: 3 * time.Second}},
		"long snooze":       {river.JobSnooze(time.Minute), `attempt = 3, metadata = '{"snoozes": 4, "a": 1}'`, jobFate{State: "scheduled", Attempt: 2, Metadata: `{"a": 1, "snoozes": 5}`, Wait: time.Minute}},
		"snooze, no number": {river.JobSnooze(time.Minute), `metadata = '{"snoozes": "many"}'`, jobFate{State: "scheduled", Metadata: `{"snoozes": 1}`, Wait: time.Minute}},
		"snooze, a huge one": {
			river.JobSnooze(time.Minute), `metadata = '{"snoozes": 9223372036854775807}'`,
			jobFate{State: "scheduled", Metadata: `{"snoozes": 9223372036854775808}`, Wait: time.Minute},
		},
		"snooze, no object":      {river.JobSnooze(time.Minute), `metadata = '[]'`, jobFate{State: "scheduled", Metadata: `[{"snoozes": 1}]`, Wait: time.Minute}},
		"NUL in the text":        {errors.New("a\x00b"), ``, jobFate{State: "available", Attempt: 1, Errors: []string{"1: a␀b"}, Metadata: "{}", Wait: time.Second}},
		"escaped NUL":            {errors.New(`a\u0000b`), ``, jobFate{State: "available", Attempt: 1, Errors: []string{`1: a\u0000b`}, Metadata: "{}", Wait: time.Second}},
		"text that is not UTF-8": {errors.New("a\xffb"), ``, jobFate{State: "available", Attempt: 1, Errors: []string{"1: a\uFFFDb"}, Metadata: "{}", Wait: time.Second}},
		"cancelled while it ran": {broken, cancelled, jobFate{State: "cancelled", Attempt: 1, Errors: []string{"1: broken"}, Metadata: `{"cancel_attempted_at": "2025-01-01T00:00:00Z"}`, Finalized: true}},
		"cancelled, snoozing": {
			river.JobSnooze(time.Minute), cancelled,
			jobFate{State: "cancelled", Attempt: 1, Metadata: `{"snoozes": 1, "cancel_attempted_at": "2025-01-01T00:00:00Z"}`, Finalized: true},
		},
		"cancelled, last error": {
			broken, `attempt = 25, ` + cancelled,
			jobFate{State: "discarded", Attempt: 25, Errors: []string{"25: broken"}, Metadata: `{"cancel_attempted_at": "2025-01-01T00:00:00Z"}`, Finalized: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			job := runningJobs(t, pool, 1)[0]
			if c.set != "" {
				exec(t, pool, `UPDATE river.river_job SET `+c.set+` WHERE id = $1`, job.ID)
			}
			var former []rivertype.AttemptError
			if err := pool.QueryRow(t.Context(), `SELECT attempt, coalesce(to_jsonb(errors), '[]') FROM river.river_job WHERE id = $1`, job.ID).Scan(&job.Attempt, &former); err != nil {
				t.Fatal(err)
			}
			job.Errors = former
			e := New(pool, testOptions(), effectKind(failing(c.verdict)))
			verdict := workAll(t, e, []*river.Job[effectArgs]{job})[0]
			silent(t, verdict)
			if !errors.Is(verdict, c.verdict) {
				t.Errorf("verdict = %v, want it to be %v", verdict, c.verdict)
			}
			got := fateInDatabase(t, pool, job.ID)
			if slack := got.Wait - c.want.Wait; slack.Abs() <= max(time.Second, c.want.Wait/10) { // River's jitter
				got.Wait = c.want.Wait
			}
			if len(got.Errors) == 0 {
				got.Errors = nil
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("fate (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPanicIsSettledWithItsStack(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	e := New(pool, testOptions(), effectKind(func(context.Context, pgx.Tx, []*river.Job[effectArgs]) error { panic("not\x00me") }))
	silent(t, workAll(t, e, runningJobs(t, pool, 1))[0])
	if got := count(t, pool, `SELECT count(*) FROM river.river_job WHERE errors[1]->>'error' = 'panic: not␀me' AND errors[1]->>'trace' LIKE '%settle_test.go%'`); got != 1 {
		t.Error("the job's error does not have the panic and its stack")
	}
}

// TestSettlingIsFenced takes a job over between its failure and the writing of
// what becomes of it.
func TestSettlingIsFenced(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	for _, verdict := range []error{errors.New("broken"), river.JobCancel(errors.New("broken")), river.JobSnooze(time.Second)} {
		for name, takeOver := range map[string]string{
			"next attempt":        `attempt = 2, attempted_at = clock_timestamp(), attempted_by = '{me,other}'`,
			"same attempt number": `attempted_at = clock_timestamp(), attempted_by = '{me,other}'`,
			"same time":           `attempt = 2`,
			"back in the queue":   `state = 'available'`,
			"completed":           `state = 'completed', finalized_at = now()`,
		} {
			jobs := runningJobs(t, pool, 1)
			var before string
			e := New(pool, testOptions(), effectKind(func(context.Context, pgx.Tx, []*river.Job[effectArgs]) error {
				exec(t, pool, `UPDATE river.river_job SET `+takeOver+` WHERE id = $1`, jobs[0].ID)
				before = rowVersion(t, pool, jobs[0].ID)
				return verdict
			}))
			silent(t, workAll(t, e, jobs)[0])
			if after := rowVersion(t, pool, jobs[0].ID); after != before {
				t.Errorf("%v, %s: row of the other attempt was %s, is %s", verdict, name, before, after)
			}
		}
	}
}

// rowVersion is a job's row, byte for byte, and which version of it.
func rowVersion(t *testing.T, pool *dbpool.Pool, id int64) string {
	t.Helper()
	var text string
	if err := pool.QueryRow(t.Context(), `SELECT concat(job::text, ' ', ctid, ' ', xmin) FROM river.river_job AS job WHERE id = $1`, id).Scan(&text); err != nil {
		t.Error(err)
	}
	return text
}
