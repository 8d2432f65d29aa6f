package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"
)

// ErrNotFound is returned for an id that nothing has.
var ErrNotFound = errors.New("no such row; finished jobs are removed after a while")

// States are the states of a job, in the order in which it passes through them.
func States() (names []string) {
	for _, s := range rivertype.JobStates() {
		names = append(names, string(s))
	}
	return names
}

// Job is a job without its args.
type Job struct {
	ID          int64      `json:"id"`
	Kind        string     `json:"kind"`
	Queue       string     `json:"queue"`
	State       string     `json:"state"`
	Priority    int        `json:"priority"` // 1 is live, above it bulk
	Attempt     int        `json:"attempt"`
	MaxAttempts int        `json:"max_attempts"`
	CreatedAt   time.Time  `json:"created_at"`
	ScheduledAt time.Time  `json:"scheduled_at"`
	AttemptedAt *time.Time `json:"attempted_at"`
	FinalizedAt *time.Time `json:"finalized_at"`
	Error       string     `json:"error"` // the last one, cut off after 300 characters; "" for none
}

const listJobsQuery = `
-- name: operator_list_jobs
SELECT id, kind, queue, state::text, priority, attempt, max_attempts, created_at, scheduled_at, attempted_at, finalized_at,
       coalesce(left(errors[array_upper(errors, 1)]->>'error', 300), '')
FROM {schema}.river_job
WHERE {where}
ORDER BY id DESC
LIMIT `

// ListJobs returns the newest jobs that the filter selects, never nil.
func (o *Operator) ListJobs(ctx context.Context, f Filter, most int) ([]Job, error) {
	w := f.jobs()
	query := listJobsQuery + w.arg(most)
	rows, err := o.pool.Query(ctx, o.query(query, w), w.args...)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Job])
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	return found, nil
}

// JobDetails is everything that is known of a job.
type JobDetails struct {
	Job
	AttemptedBy []string        `json:"attempted_by"` // worker processes
	Errors      []AttemptError  `json:"errors"`       // oldest first
	Args        json.RawMessage `json:"args"`
	Metadata    json.RawMessage `json:"metadata"`
}

// AttemptError is why an attempt failed.
type AttemptError struct {
	Attempt int       `json:"attempt"`
	At      time.Time `json:"at"`
	Error   string    `json:"error"`
	Trace   string    `json:"trace"` // of a panic
}

// ShowJob returns a job, or ErrNotFound.
func (o *Operator) ShowJob(ctx context.Context, id int64) (d JobDetails, err error) {
	row, err := o.client.JobGet(ctx, id)
	switch {
	case errors.Is(err, rivertype.ErrNotFound):
		return d, fmt.Errorf("job %d: %w", id, ErrNotFound)
	case err != nil:
		return d, fmt.Errorf("job %d: %w", id, err)
	}
	d = JobDetails{
		Job: Job{
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

// Group is how many of the selected jobs have a kind, queue and state.
type Group struct {
	Kind  string `json:"kind"`
	Queue string `json:"queue"`
	State string `json:"state"`
	Jobs  int64  `json:"jobs"`
}

// Preview is what a bulk operation is going to change.
type Preview struct {
	Groups []Group // never nil
	Jobs   int64
	newest int64 // no younger job is touched: it was not in the preview
}

const previewQuery = `
-- name: operator_preview_jobs
SELECT kind, queue, state::text, count(*), max(id)
FROM {schema}.river_job
WHERE {where}
GROUP BY kind, queue, state
ORDER BY kind, queue, state`

// PreviewJobs counts what the action would change of what the filter selects.
func (o *Operator) PreviewJobs(ctx context.Context, a Action, f Filter) (p Preview, err error) {
	f.States = a.statesOf(f)
	w := f.jobs()
	rows, err := o.pool.Query(ctx, o.query(previewQuery, w), w.args...)
	if err != nil {
		return p, fmt.Errorf("preview: %w", err)
	}
	p.Groups = []Group{}
	var g Group
	var newest int64
	_, err = pgx.ForEachRow(rows, []any{&g.Kind, &g.Queue, &g.State, &g.Jobs, &newest}, func() error {
		p.Groups = append(p.Groups, g)
		p.Jobs += g.Jobs
		p.newest = max(p.newest, newest)
		return nil
	})
	if err != nil {
		return p, fmt.Errorf("preview: %w", err)
	}
	return p, nil
}

func (a Action) statesOf(f Filter) []string {
	if len(f.States) == 0 {
		return a.From
	}
	return slices.DeleteFunc(slices.Clone(f.States), func(s string) bool { return !slices.Contains(a.From, s) })
}
