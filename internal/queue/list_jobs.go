package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/dbpool"
)

// JobSummary is a job without its args.
type JobSummary struct {
	ID          int64      `json:"id"`
	Kind        string     `json:"kind"`
	Queue       string     `json:"queue"`
	State       string     `json:"state"`
	Priority    int        `json:"priority"` // 1 is live, higher is bulk
	Attempt     int        `json:"attempt"`
	MaxAttempts int        `json:"max_attempts"`
	CreatedAt   time.Time  `json:"created_at"`
	ScheduledAt time.Time  `json:"scheduled_at"`
	AttemptedAt *time.Time `json:"attempted_at"`
	FinalizedAt *time.Time `json:"finalized_at"`
	Error       string     `json:"error"` // the last one, cut off after 300 characters; "" for none
}

const listJobsQuery = `
-- name: queue_list_jobs
SELECT id, kind, queue, state::text, priority, attempt, max_attempts, created_at, scheduled_at, attempted_at, finalized_at,
       coalesce(left(errors[array_upper(errors, 1)]->>'error', 300), '')
FROM {schema}.river_job
WHERE {where}
ORDER BY id DESC
LIMIT @limit`

// ListJobs returns up to limit of the newest jobs that the filter selects, never nil.
func (a *Admin) ListJobs(ctx context.Context, f Filter, limit int) ([]JobSummary, error) {
	args := pgx.NamedArgs{"limit": limit}
	return dbpool.Collect(ctx, a.pool, "list jobs", pgx.RowToStructByPos[JobSummary], a.schema.filtered(listJobsQuery, f, args), args)
}

// JobDetails is everything known about a job.
type JobDetails struct {
	JobSummary
	AttemptedBy []string        `json:"attempted_by"` // worker processes
	Errors      []AttemptError  `json:"errors"`       // oldest first
	Args        json.RawMessage `json:"args"`
	Metadata    json.RawMessage `json:"metadata"`
}

// AttemptError is the error of a failed attempt.
type AttemptError struct {
	Attempt int       `json:"attempt"`
	At      time.Time `json:"at"`
	Error   string    `json:"error"`
	Trace   string    `json:"trace"` // of a panic
}

// ShowJob returns a job, or ErrNotFound.
func (a *Admin) ShowJob(ctx context.Context, id int64) (d JobDetails, err error) {
	row, err := a.client.JobGet(ctx, id)
	switch {
	case errors.Is(err, rivertype.ErrNotFound):
		return d, fmt.Errorf("job %d: %w", id, ErrNotFound)
	case err != nil:
		return d, fmt.Errorf("job %d: %w", id, err)
	}
	d = JobDetails{
		JobSummary: JobSummary{
			ID: row.ID, Kind: row.Kind, Queue: row.Queue, State: string(row.State), Priority: row.Priority,
			Attempt: row.Attempt, MaxAttempts: row.MaxAttempts, CreatedAt: row.CreatedAt, ScheduledAt: row.ScheduledAt,
			AttemptedAt: row.AttemptedAt, FinalizedAt: row.FinalizedAt,
		},
		AttemptedBy: append([]string{}, row.AttemptedBy...), Errors: []AttemptError{},
		Args: row.EncodedArgs, Metadata: row.Metadata,
	}
	for _, e := range row.Errors {
		d.Errors = append(d.Errors, AttemptError{e.Attempt, e.At, e.Error, e.Trace})
		d.Error = e.Error
	}
	return d, nil
}
