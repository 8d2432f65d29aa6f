package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// namedUsers is an SQL expression: up to MaxUsers of the users that a job's args name, in
// ascending order. Any program may have enqueued args of any shape, so values that are
// not numbers are skipped.
const namedUsers = `ARRAY(
		SELECT DISTINCT (named #>> '{}')::bigint AS id
		FROM (
			SELECT jsonb_path_query(args, '$.activities[*].user_id')
			UNION ALL SELECT jsonb_path_query(args, '$.ranges[*].user_id')
			UNION ALL SELECT jsonb_path_query(args, '$.user_ids[*]')
			LIMIT 1000
		) AS users (named)
		WHERE named #>> '{}' ~ '^[0-9]{1,18}$'
		ORDER BY id
		LIMIT 4 -- MaxUsers
	)`

// MaxUsers is how many of a job's users are returned, one more than are shown.
const MaxUsers = 4

// lastError is an SQL expression: why a job's last attempt failed.
const lastError = `coalesce(left(errors[array_upper(errors, 1)]->>'error', 300), '')`

// endedQuery follows the index by which finished jobs are removed.
const endedQuery = `
-- name: queue_ended
SELECT id, kind, queue, attempt, finalized_at, ` + lastError + `, ` + namedUsers + `
FROM {schema}.river_job
WHERE state = $2::{schema}.river_job_state AND finalized_at IS NOT NULL
ORDER BY finalized_at DESC
LIMIT $1`

// EndedJob is a job that will not be tried again, and did not do its work.
type EndedJob struct {
	ID          int64     `json:"id"`
	Kind        string    `json:"kind"`
	Queue       string    `json:"queue"`
	Attempt     int       `json:"attempt"`
	FinalizedAt time.Time `json:"finalized_at"`
	Error       string    `json:"error"` // the last one, cut off after 300 characters
	Users       []int64   `json:"users"` // up to MaxUsers that the args name
}

// Ended queues the reading of up to limit of the most recently discarded or cancelled
// jobs, never nil. Jobs are cancelled by an operator, or by the worker if their args
// do not decode.
func (s Schema) Ended(b *pgx.Batch, state string, limit int, ended *[]EndedJob) {
	b.Queue(s.SQL(endedQuery), limit, state).Query(dbpool.Into(ended))
}

// MaxNext is how many retryable jobs are read of each queue.
const MaxNext = 100

// nextOfEachQueue is a FROM item: the jobs of each queue that are tried again next. The
// index from which River fetches is ordered by queue first, so it cannot return the jobs
// of all queues in the order of their times.
const nextOfEachQueue = `(SELECT name FROM {schema}.river_queue ORDER BY name LIMIT 50) AS queues
CROSS JOIN LATERAL (
	SELECT job.*
	FROM {schema}.river_job AS job
	WHERE job.state = 'retryable' AND job.queue = queues.name
	ORDER BY job.priority, job.scheduled_at, job.id
	LIMIT 100 -- MaxNext
) AS next`

const retryableQuery = `
-- name: queue_retryable
SELECT id, kind, queue, attempt, max_attempts, scheduled_at, ` + lastError + `, ` + namedUsers + `
FROM (SELECT next.* FROM ` + nextOfEachQueue + ` ORDER BY next.scheduled_at, next.id LIMIT $1) AS soonest
ORDER BY scheduled_at, id`

// RetryableJob is a job that failed and waits for another attempt.
type RetryableJob struct {
	ID          int64     `json:"id"`
	Kind        string    `json:"kind"`
	Queue       string    `json:"queue"`
	Attempt     int       `json:"attempt"`
	MaxAttempts int       `json:"max_attempts"`
	ScheduledAt time.Time `json:"scheduled_at"` // when it is tried again
	Error       string    `json:"error"`        // the last one, cut off after 300 characters
	Users       []int64   `json:"users"`        // up to MaxUsers that the args name
}

// Retryable queues the reading of up to limit of the jobs that are tried again next,
// never nil.
func (s Schema) Retryable(b *pgx.Batch, limit int, retryable *[]RetryableJob) {
	b.Queue(s.SQL(retryableQuery), limit).Query(dbpool.Into(retryable))
}

// LastFailure is the last failure of a job, without its args.
type LastFailure struct {
	ID    int64
	At    time.Time // of its end, or of the attempt that failed
	Error string    // the last one, cut off after 300 characters; "" for none
}

// MaxFailures is how many failures are read: enough to see what fails, and few compared
// with a table of a million.
const MaxFailures = 500

const (
	endedFailuresQuery = `
-- name: queue_ended_failures
SELECT id, finalized_at, ` + lastError + `
FROM {schema}.river_job
WHERE state = $2::text::{schema}.river_job_state AND finalized_at IS NOT NULL
ORDER BY finalized_at DESC
LIMIT $1`

	retryableFailuresQuery = `
-- name: queue_retryable_failures
SELECT id, coalesce(attempted_at, created_at), ` + lastError + `
FROM ` + nextOfEachQueue + `
ORDER BY 2 DESC
LIMIT $1`
)

// Failures queues the reading of up to MaxFailures of the most recent failures of the
// jobs in a state: retryable, discarded or cancelled. For retryable jobs it reads up to a
// hundred of those that each queue tries next.
func (s Schema) Failures(b *pgx.Batch, state string, read func([]LastFailure)) {
	query, args := s.SQL(endedFailuresQuery), []any{MaxFailures, state}
	if state == "retryable" {
		query, args = s.SQL(retryableFailuresQuery), args[:1]
	}
	b.Queue(query, args...).Query(func(rows pgx.Rows) error {
		failures, err := pgx.CollectRows(rows, pgx.RowToStructByPos[LastFailure])
		if err == nil {
			read(failures)
		}
		return err
	})
}

// Failures runs Schema.Failures.
func (a *Admin) Failures(ctx context.Context, state string) (found []LastFailure, err error) {
	b := &pgx.Batch{}
	a.schema.Failures(b, state, func(failures []LastFailure) { found = failures })
	if err := a.pool.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("read failures of %s jobs: %w", state, err)
	}
	return found, nil
}
