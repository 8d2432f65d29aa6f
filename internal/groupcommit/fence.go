package groupcommit

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"
)

// Hold identifies one attempt at one job. Attempt numbers alone do not: a
// snooze or an interruption gives the number back, and the next process would
// hold the same one. The time at which the attempt was fetched differs.
type Hold struct {
	JobID       int64
	Attempt     int
	AttemptedAt time.Time
}

// HoldOf returns the hold that a fetched job is evidence of.
func HoldOf(job *rivertype.JobRow) Hold {
	h := Hold{JobID: job.ID, Attempt: job.Attempt}
	if job.AttemptedAt != nil {
		h.AttemptedAt = *job.AttemptedAt
	}
	return h
}

// ErrTakenOver is the verdict of a job whose attempt is no longer the current
// one: another process rescued it and has it now, or has finished it.
//
// A worker must return it as it is. River completes, fails or snoozes by job id
// alone, so whatever else a worker returned, nil included, would decide the
// other attempt's fate. This error carries the method set by which River's
// executor recognises one result for many jobs, with no job in it, and
// therefore reports nothing at all.
var ErrTakenOver error = takenOverError{}

// Committed is what a worker may return instead of nil for a job that the
// engine has committed. River's completer reads such a job back, arguments
// included, to find that there is nothing to write; told nothing it does not.
// River's own subscribers and statistics then do not hear of the job.
var Committed error = committedVerdict{}

type committedVerdict struct{ untold }

func (committedVerdict) Error() string { return "committed" }

type takenOverError struct{ untold }

func (takenOverError) Error() string { return "taken over by another process" }

// untold is embedded by verdicts that River is told nothing of: it has the
// method set of one result for many jobs, with no job in it.
type untold struct{}

// Jobs is what River's executor goes through to report results.
func (untold) Jobs() []*rivertype.JobRow { return nil }

// ErrorsByID is the other half of what River's executor looks for.
func (untold) ErrorsByID() map[int64]error { return nil }

// notHeldError tells which attempts of a batch the fence stopped, and of each
// whether it had completed its job before. A batch can have two attempts at one
// job: the one that was taken over, and the one that this same process fetched
// after that.
type notHeldError struct{ attempts map[Hold]bool }

func (e *notHeldError) Error() string {
	return fmt.Sprintf("%d jobs of the batch are not held", len(e.attempts))
}

// Is makes errors.Is(err, ErrTakenOver) true unless every job had been
// completed by its own attempt.
func (e *notHeldError) Is(target error) bool {
	if target != ErrTakenOver {
		return false
	}
	for _, committed := range e.attempts {
		if !committed {
			return true
		}
	}
	return false
}

// completeQuery completes the attempts that are still current. It joins on the
// array instead of taking job ids alone, because the fence compares attempt and
// fetch time of each; the array is in key order, and so are the row locks. It
// runs last in its transaction: a row lock on a running job stalls all of
// River's completions.
//
// state is compared as text, which no index serves: whenever the table was last
// analyzed while no job was running, the planner expects none, and would compare
// all running jobs, by the index on state, with all of the array.
const completeQuery = `
-- name: complete_jobs
UPDATE {schema}.river_job AS job
SET state = 'completed', finalized_at = clock_timestamp()
FROM unnest($1::bigint[], $2::int[], $3::timestamptz[]) WITH ORDINALITY AS held (id, attempt, attempted_at, position)
WHERE job.id = held.id
  AND job.attempt = held.attempt
  AND job.attempted_at = held.attempted_at
  AND job.state::text = 'running'
RETURNING held.position`

// committedBeforeQuery finds, among attempts that the fence stopped, those that
// are completed already: by this attempt itself, in a commit whose answer was
// lost.
const committedBeforeQuery = `
-- name: committed_before
SELECT held.position
FROM {schema}.river_job AS job
JOIN unnest($1::bigint[], $2::int[], $3::timestamptz[]) WITH ORDINALITY AS held (id, attempt, attempted_at, position)
  ON job.id = held.id AND job.attempt = held.attempt AND job.attempted_at = held.attempted_at
WHERE job.state = 'completed'`

// Complete marks the jobs completed within tx, fenced: when any of them is not
// held any more, the error matches ErrTakenOver and tx must be rolled back.
// holds must be in ascending order of job ids. Kinds that are batches by
// themselves call it in their own transaction.
func Complete(ctx context.Context, tx pgx.Tx, riverSchema string, holds []Hold) error {
	matched, err := queryHolds(ctx, tx, completeQuery, riverSchema, holds)
	if err != nil {
		return fmt.Errorf("complete jobs: %w", err)
	}
	if len(matched) == len(holds) {
		return nil
	}
	before, err := queryHolds(ctx, tx, committedBeforeQuery, riverSchema, holds)
	if err != nil {
		return fmt.Errorf("complete jobs: %w", err)
	}
	lost := &notHeldError{attempts: map[Hold]bool{}}
	for _, h := range holds {
		if !matched[h] {
			lost.attempts[h] = before[h]
		}
	}
	return lost
}

// queryHolds returns those of the holds that the query finds.
func queryHolds(ctx context.Context, tx pgx.Tx, query, riverSchema string, holds []Hold) (map[Hold]bool, error) {
	ids, attempts, times := make([]int64, len(holds)), make([]int32, len(holds)), make([]time.Time, len(holds))
	for i, h := range holds {
		ids[i], attempts[i], times[i] = h.JobID, int32(h.Attempt), h.AttemptedAt
	}
	rows, err := tx.Query(ctx, strings.ReplaceAll(query, "{schema}", pgx.Identifier{riverSchema}.Sanitize()), ids, attempts, times)
	if err != nil {
		return nil, err
	}
	found := make(map[Hold]bool, len(holds))
	var position int64 // from 1
	_, err = pgx.ForEachRow(rows, []any{&position}, func() error {
		found[holds[position-1]] = true
		return nil
	})
	return found, err
}
