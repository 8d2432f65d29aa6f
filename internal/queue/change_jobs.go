package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Action is a change that an operator makes to jobs.
type Action struct {
	Name string
	From []string // the states in which it is possible
	set  string   // the SET clause for jobs that are not running
}

// The actions. They do not change the args: a retried job keeps its place among the
// versions of an activity.
var (
	// Retry makes jobs available now; one that used up its attempts gets another.
	Retry = Action{Name: "retry", From: []string{"retryable", "scheduled", "cancelled", "discarded"}, set: `
	state = 'available', scheduled_at = clock_timestamp(), finalized_at = NULL, metadata = job.metadata - 'cancel_attempted_at',
	max_attempts = CASE WHEN job.attempt >= job.max_attempts THEN job.attempt + 1 ELSE job.max_attempts END`}

	// Cancel ends jobs; a running one is asked to stop, and ends as cancelled unless it
	// completes first.
	Cancel = Action{Name: "cancel", From: []string{"available", "running", "retryable", "scheduled", "pending"}, set: `
	state = 'cancelled', finalized_at = clock_timestamp()`}

	// Discard gives up on jobs that are not running. They are kept for a week; until
	// then Retry brings them back.
	Discard = Action{Name: "discard", From: []string{"available", "retryable", "scheduled", "pending"}, set: `
	state = 'discarded', finalized_at = clock_timestamp()`}
)

// restrict removes the states in which the action is not possible from the filter.
func (a Action) restrict(f Filter) Filter {
	if len(f.States) == 0 {
		f.States = a.From
	} else {
		f.States = slices.DeleteFunc(slices.Clone(f.States), func(s string) bool { return !slices.Contains(a.From, s) })
	}
	return f
}

// JobGroup is how many of the selected jobs have a kind, queue and state.
type JobGroup struct {
	Kind  string `json:"kind"`
	Queue string `json:"queue"`
	State string `json:"state"`
	Jobs  int64  `json:"jobs"`
}

// Preview is what a bulk action would change.
type Preview struct {
	Groups   []JobGroup // never nil
	Jobs     int64
	newestID int64 // younger jobs are not touched: they were not in the preview
}

const previewJobsQuery = `
-- name: queue_preview_jobs
SELECT kind, queue, state::text, count(*), max(id)
FROM {schema}.river_job
WHERE {where}
GROUP BY kind, queue, state
ORDER BY kind, queue, state`

// PreviewJobs counts the selected jobs that the action would change.
func (a *Admin) PreviewJobs(ctx context.Context, action Action, f Filter) (p Preview, err error) {
	args := pgx.NamedArgs{}
	rows, _ := a.pool.Query(ctx, a.schema.filtered(previewJobsQuery, action.restrict(f), args), args)
	p.Groups = []JobGroup{}
	var g JobGroup
	var newestID int64
	_, err = pgx.ForEachRow(rows, []any{&g.Kind, &g.Queue, &g.State, &g.Jobs, &newestID}, func() error {
		p.Groups = append(p.Groups, g)
		p.Jobs += g.Jobs
		p.newestID = max(p.newestID, newestID)
		return nil
	})
	if err != nil {
		return p, fmt.Errorf("preview: %w", err)
	}
	return p, nil
}

// changedPerTx is how many jobs one transaction of a bulk operation changes, so
// that workers wait for its locks for a few milliseconds only.
const changedPerTx = 500

// lockJobsQuery locks the next jobs in key order. PostgreSQL checks a row again that
// changed during the wait for its lock, and leaves it out if it no longer matches.
const lockJobsQuery = `
-- name: queue_lock_jobs
SELECT id, state::text
FROM {schema}.river_job
WHERE {where} AND id > @after AND id <= @newest
ORDER BY id
LIMIT @limit
FOR UPDATE`

// changeJobsQuery changes locked jobs, and wakes the workers of queues in which
// jobs became available, as an insert does.
const changeJobsQuery = `
-- name: queue_change_jobs
WITH changed AS (
	UPDATE {schema}.river_job AS job SET {set} WHERE id = ANY($1::bigint[]) RETURNING queue, state
)
SELECT pg_notify($2, ` + insertPayload + `) FROM changed WHERE state = 'available' GROUP BY queue`

// ChangeJobs applies the action to the jobs of a preview that still match, in
// transactions of a few hundred, and returns how many it changed. After an error,
// earlier transactions stay committed.
func (a *Admin) ChangeJobs(ctx context.Context, action Action, f Filter, p Preview) (changed int64, err error) {
	f = action.restrict(f)
	for after := int64(0); ; {
		var last int64
		var n int
		err := a.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			last, n, err = a.changeSome(ctx, tx, action, f, after, p.newestID)
			return err
		})
		if err != nil {
			return changed, fmt.Errorf("%s jobs: %w", action.Name, err)
		}
		changed += int64(n)
		if n < changedPerTx {
			return changed, nil
		}
		after = last
	}
}

func (a *Admin) changeSome(ctx context.Context, tx pgx.Tx, action Action, f Filter, after, newestID int64) (last int64, n int, err error) {
	args := pgx.NamedArgs{"after": after, "newest": newestID, "limit": changedPerTx}
	rows, _ := tx.Query(ctx, a.schema.filtered(lockJobsQuery, f, args), args)
	var idle, running []int64
	var state string
	_, err = pgx.ForEachRow(rows, []any{&last, &state}, func() error {
		if state == "running" {
			running = append(running, last)
		} else {
			idle = append(idle, last)
		}
		return nil
	})
	if err != nil {
		return 0, 0, err
	}
	query := strings.Replace(changeJobsQuery, "{set}", action.set, 1)
	if _, err := tx.Exec(ctx, a.schema.SQL(query), idle, a.schema.topic()); err != nil {
		return 0, 0, err
	}
	// Only River can reach the process that works a job. There are never more running
	// jobs than worker slots.
	for _, id := range running {
		if _, err := a.client.JobCancelTx(ctx, tx, id); err != nil {
			return 0, 0, err
		}
	}
	return last, len(idle) + len(running), nil
}
