package groupcommit

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// errSettled is the verdict of a job whose fate the engine has written itself,
// fenced. Like ErrTakenOver it makes River write nothing, if it is returned as
// it is. So that nobody has a reason to wrap it, its text has no NULs.
type errSettled struct {
	untold
	cause error
}

func (e errSettled) Error() string { return withoutNUL(e.cause.Error()) }
func (e errSettled) Unwrap() error { return e.cause }

// settleQuery writes what becomes of attempts that did not commit, fenced like
// completeQuery: River would write it by job id alone, and an attempt that was
// taken over meanwhile would decide the fate of the other one. A job that was
// cancelled while it ran is not given another try and, as in River, keeps its
// attempt and its time. Whatever stands in metadata must not fail the
// statement, for that would hold up the other jobs' fates as well.
const settleQuery = `
-- name: settle_jobs
UPDATE {schema}.river_job AS job
SET state = CASE WHEN fate.retry AND job.metadata ? 'cancel_attempted_at' THEN 'cancelled' ELSE fate.state::{schema}.river_job_state END,
	attempt = CASE WHEN fate.refund AND NOT job.metadata ? 'cancel_attempted_at' THEN greatest(job.attempt - 1, 0) ELSE job.attempt END,
	scheduled_at = CASE WHEN fate.retry AND NOT job.metadata ? 'cancel_attempted_at' THEN now() + fate.delay ELSE job.scheduled_at END,
	finalized_at = CASE WHEN fate.retry AND NOT job.metadata ? 'cancel_attempted_at' THEN NULL ELSE now() END,
	errors = CASE WHEN fate.error IS NULL THEN job.errors ELSE array_append(job.errors, fate.error) END,
	metadata = CASE WHEN fate.refund
		THEN job.metadata || jsonb_build_object('snoozes',
			CASE jsonb_typeof(job.metadata->'snoozes') WHEN 'number' THEN (job.metadata->>'snoozes')::numeric ELSE 0 END + 1)
		ELSE job.metadata END
FROM unnest($1::bigint[], $2::int[], $3::timestamptz[], $4::text[], $5::bool[], $6::bool[], $7::interval[], $8::jsonb[])
	AS fate (id, attempt, attempted_at, state, retry, refund, delay, error)
WHERE job.id = fate.id AND job.attempt = fate.attempt AND job.attempted_at = fate.attempted_at AND job.state = 'running'`

// shortDelay is up to where a job goes straight back to available: River moves
// jobs that wait longer only every few seconds.
const shortDelay = 5 * time.Second

// fate is what becomes of an attempt that did not commit.
type fate struct {
	state  rivertype.JobState
	retry  bool // the job gets another try, after delay
	refund bool // and the attempt is not spent
	delay  time.Duration
	err    []byte // a rivertype.AttemptError as JSON, nil when the attempt is not spent
}

// fateOf follows River's own rules: cancel, snooze, discard after the last
// attempt, otherwise retry by River's default policy.
func fateOf(job *rivertype.JobRow, verdict error) (fate, error) {
	var snooze *rivertype.JobSnoozeError
	if errors.As(verdict, &snooze) {
		return fate{state: waitingState(snooze.Duration), retry: true, refund: true, delay: snooze.Duration}, nil
	}
	now := time.Now()
	text, err := json.Marshal(rivertype.AttemptError{
		At: now, Attempt: job.Attempt, Error: withoutNUL(verdict.Error()), Trace: traceOf(verdict),
	})
	if err != nil {
		return fate{}, err
	}
	var cancel *rivertype.JobCancelError
	switch {
	case errors.As(verdict, &cancel):
		return fate{state: rivertype.JobStateCancelled, err: text}, nil
	case job.Attempt >= job.MaxAttempts:
		return fate{state: rivertype.JobStateDiscarded, err: text}, nil
	}
	delay := (&river.DefaultClientRetryPolicy{}).NextRetry(job).Sub(now)
	state := rivertype.JobStateRetryable
	if delay <= shortDelay {
		state = rivertype.JobStateAvailable
	}
	return fate{state: state, retry: true, delay: delay, err: text}, nil
}

func waitingState(delay time.Duration) rivertype.JobState {
	if delay <= shortDelay {
		return rivertype.JobStateAvailable
	}
	return rivertype.JobStateScheduled
}

func traceOf(verdict error) string {
	if panicked := (*PanicError)(nil); errors.As(verdict, &panicked) {
		return withoutNUL(panicked.Stack)
	}
	return ""
}

// withoutNUL makes a text that jsonb takes.
func withoutNUL(s string) string { return strings.ReplaceAll(s, "\x00", "␀") }

// settle writes the fate of each entry and answers it. While the database is
// out of reach it goes on trying, until the jobs are withdrawn: nobody else
// would return them to the queue while this process lives.
func (e *Engine[T]) settle(batch []*entry[T], verdict error) {
	for try := 1; ; try++ {
		if batch = e.dropWithdrawn(batch); len(batch) == 0 {
			return
		}
		err := e.settleOnce(batch, verdict)
		if err == nil {
			e.answer(batch, errSettled{cause: verdict})
			return
		}
		if try == 1 {
			e.options.Logger.Warn("fate of jobs not written yet, trying on",
				slog.Int("jobs", len(batch)), slog.String("fate", verdict.Error()), slog.String("error", err.Error()))
		}
		e.backOff(try, batch)
	}
}

func (e *Engine[T]) settleOnce(batch []*entry[T], verdict error) error {
	ctx, cancel := context.WithTimeout(context.Background(), e.options.FlushTimeout)
	defer cancel()
	tx, err := e.db.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	var ids []int64
	var attempts []int32
	var times []time.Time
	var states []string
	var retries, refunds []bool
	var delays []time.Duration
	var texts [][]byte
	ends := map[rivertype.JobState]int64{}
	for _, en := range batch {
		f, err := fateOf(en.job.JobRow, verdict)
		if err != nil {
			return err
		}
		h := HoldOf(en.job.JobRow)
		ids, attempts, times = append(ids, h.JobID), append(attempts, int32(h.Attempt)), append(times, h.AttemptedAt)
		states, retries, refunds = append(states, string(f.state)), append(retries, f.retry), append(refunds, f.refund)
		delays, texts = append(delays, f.delay), append(texts, f.err)
		ends[f.state]++
	}
	query := strings.ReplaceAll(settleQuery, "{schema}", pgx.Identifier{e.options.RiverSchema}.Sanitize())
	if _, err := tx.Exec(ctx, query, ids, attempts, times, states, retries, refunds, delays, texts); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	e.counts.cancelled.Add(ends[rivertype.JobStateCancelled])
	e.counts.discarded.Add(ends[rivertype.JobStateDiscarded])
	return nil
}
