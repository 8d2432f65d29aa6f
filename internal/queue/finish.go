package queue

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// Attempt has what the rows of finished jobs record about the process.
type Attempt struct {
	Client string // River's name of this process
	Keep   bool   // completed rows stay for their retention; otherwise they are deleted
}

// attempted sets the columns that River's fetch would have set, and as River does
// keeps the last 100 processes.
const attempted = `
	attempt = job.attempt + 1, attempted_at = now(),
	attempted_by = array_append(CASE WHEN array_length(job.attempted_by, 1) >= 100
		THEN job.attempted_by[array_length(job.attempted_by, 1) - 98:] ELSE job.attempted_by END, $2::text)`

// completeQuery needs no fence: the transaction has had the rows locked since the claim.
const completeQuery = `
-- name: complete_jobs
UPDATE {schema}.river_job AS job
SET state = 'completed', finalized_at = clock_timestamp(), metadata = ` + unmarked + `,` + attempted + `
WHERE id = ANY($1::bigint[])`

const completeAndDeleteQuery = `
-- name: complete_and_delete_jobs
DELETE FROM {schema}.river_job WHERE id = ANY($1::bigint[])`

// Complete queues the completion of claimed jobs. Closing the batch fails if one of them
// is gone, which its row lock prevents.
func (s Schema) Complete(b *pgx.Batch, a Attempt, ids []int64) {
	check := func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() != int64(len(ids)) {
			return fmt.Errorf("complete jobs: %d of %d claimed jobs are there", tag.RowsAffected(), len(ids))
		}
		return nil
	}
	if a.Keep {
		b.Queue(s.SQL(completeQuery), ids, a.Client).Exec(check)
	} else {
		b.Queue(s.SQL(completeAndDeleteQuery), ids).Exec(check)
	}
}

// Failure is an attempt at a claimed job that ended with an error.
type Failure struct {
	Job    Job
	Err    error
	Trace  string // of a panic
	Cancel bool   // a retry cannot help
	Final  bool   // as if it were the last attempt
}

// State returns the job's next state by River's rules: cancelled; discarded after the last
// attempt; otherwise retryable after River's delay, or available when the delay is short.
func (f Failure) State() rivertype.JobState {
	state, _ := f.outcome()
	return state
}

// shortDelay is the longest delay for which a job goes straight back to available: River
// moves jobs that wait longer only every few seconds.
const shortDelay = 5 * time.Second

func (f Failure) outcome() (state rivertype.JobState, delay time.Duration) {
	attempt := f.Job.Attempt + 1
	switch {
	case f.Cancel:
		return rivertype.JobStateCancelled, 0
	case f.Final, attempt >= f.Job.MaxAttempts:
		return rivertype.JobStateDiscarded, 0
	}
	row := &rivertype.JobRow{Attempt: attempt, Errors: make([]rivertype.AttemptError, f.Job.Errors)}
	delay = time.Until((&river.DefaultClientRetryPolicy{}).NextRetry(row))
	if delay <= shortDelay {
		return rivertype.JobStateAvailable, delay
	}
	return rivertype.JobStateRetryable, delay
}

// failQuery writes the states after failed attempts. As in River, a job whose
// cancellation was requested gets no other try and keeps its time. Errors are dated by the
// server.
const failQuery = `
-- name: fail_jobs
UPDATE {schema}.river_job AS job
SET state = CASE WHEN failed.retry AND job.metadata ? 'cancel_attempted_at' THEN 'cancelled' ELSE failed.state::{schema}.river_job_state END,
	scheduled_at = CASE WHEN failed.retry AND NOT job.metadata ? 'cancel_attempted_at' THEN now() + failed.delay ELSE job.scheduled_at END,
	finalized_at = CASE WHEN failed.retry AND NOT job.metadata ? 'cancel_attempted_at' THEN NULL ELSE clock_timestamp() END,
	errors = array_append(job.errors, failed.error || jsonb_build_object('at', now())), metadata = ` + unmarked + `,` + attempted + `
FROM unnest($1::bigint[], $3::text[], $4::bool[], $5::interval[], $6::jsonb[]) AS failed (id, state, retry, delay, error)
WHERE job.id = failed.id`

// Fail queues the failure of claimed jobs.
func (s Schema) Fail(b *pgx.Batch, a Attempt, failures []Failure) error {
	var ids []int64
	var states []string
	var retries []bool
	var delays []time.Duration
	var texts [][]byte
	for _, f := range failures {
		state, delay := f.outcome()
		text, err := json.Marshal(rivertype.AttemptError{
			Attempt: f.Job.Attempt + 1, Error: WithoutNUL(f.Err.Error()), Trace: WithoutNUL(f.Trace),
		})
		if err != nil {
			return fmt.Errorf("fail job %d: %w", f.Job.ID, err)
		}
		ids, states, delays, texts = append(ids, f.Job.ID), append(states, string(state)), append(delays, delay), append(texts, text)
		retries = append(retries, state == rivertype.JobStateAvailable || state == rivertype.JobStateRetryable)
	}
	b.Queue(s.SQL(failQuery), ids, a.Client, states, retries, delays, texts)
	return nil
}

// WithoutNUL returns a text that jsonb and text accept: River's batch completer would
// retry for ever to write one that PostgreSQL refuses.
func WithoutNUL(s string) string { return strings.ReplaceAll(s, "\x00", "␀") }

// postponeQuery makes jobs available after a delay, as River does with jobs that are
// snoozed for some seconds.
const postponeQuery = `
-- name: postpone_jobs
UPDATE {schema}.river_job SET scheduled_at = now() + $2::interval WHERE id = ANY($1::bigint[])`

// Postpone queues the postponement of claimed jobs, which costs them no attempt.
func (s Schema) Postpone(b *pgx.Batch, ids []int64, d time.Duration) {
	b.Queue(s.SQL(postponeQuery), ids, d)
}

// setArgsQuery replaces a job's args with the work that is left.
const setArgsQuery = `
-- name: set_job_args
UPDATE {schema}.river_job SET args = $2 WHERE id = $1`

// SetArgs queues the replacement of a claimed job's arguments, which are JSON.
func (s Schema) SetArgs(b *pgx.Batch, id int64, args []byte) {
	b.Queue(s.SQL(setArgsQuery), id, args)
}
