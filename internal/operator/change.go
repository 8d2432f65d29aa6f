package operator

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Action is what can be done to jobs.
type Action struct {
	Name string
	From []string // the states in which it can be done
	set  string   // what it sets in jobs that do not run
}

// The actions. They leave the args alone: a job that is retried keeps its place
// among the versions of an activity.
var (
	// Retry makes jobs available now; one that used up its attempts gets another.
	Retry = Action{Name: "retry", From: []string{"retryable", "scheduled", "cancelled", "discarded"}, set: `
	state = 'available', scheduled_at = clock_timestamp(), finalized_at = NULL, metadata = job.metadata - 'cancel_attempted_at',
	max_attempts = CASE WHEN job.attempt >= job.max_attempts THEN job.attempt + 1 ELSE job.max_attempts END`}

	// Cancel ends jobs; one that runs is told to stop, and ends as cancelled
	// unless it completes all the same.
	Cancel = Action{Name: "cancel", From: []string{"available", "running", "retryable", "scheduled", "pending"}, set: `
	state = 'cancelled', finalized_at = clock_timestamp()`}

	// Discard gives up on jobs that do not run. River keeps them for a week, in
	// which Retry brings them back.
	Discard = Action{Name: "discard", From: []string{"available", "retryable", "scheduled", "pending"}, set: `
	state = 'discarded', finalized_at = clock_timestamp()`}
)

// lockJobsQuery locks the next jobs in key order. A row that changed while its
// lock was waited for is looked at again and left out when it no longer matches.
const lockJobsQuery = `
-- name: operator_lock_jobs
SELECT id, state::text FROM {schema}.river_job WHERE {where} ORDER BY id LIMIT `

// changeQuery changes locked jobs. Workers of the queues in which something
// became available are woken as by an insert.
const changeQuery = `
-- name: operator_change_jobs
WITH changed AS (
	UPDATE {schema}.river_job AS job SET {set} WHERE id = ANY($1::bigint[]) RETURNING queue, state
)
SELECT pg_notify($2, json_build_object('queue', queue)::text) FROM changed WHERE state = 'available' GROUP BY queue`

// ChangeJobs does the action to the jobs of a preview that still match, in
// transactions of some hundred, and returns how many it changed. On an error
// those before it stay changed.
func (o *Operator) ChangeJobs(ctx context.Context, a Action, f Filter, p Preview) (changed int64, err error) {
	f.States = a.statesOf(f)
	for after := int64(0); ; {
		var last int64
		var n int
		err := o.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			last, n, err = o.changeSome(ctx, tx, a, f, after, p.newest)
			return err
		})
		if err != nil {
			return changed, fmt.Errorf("%s jobs: %w", a.Name, err)
		}
		changed += int64(n)
		if n < step {
			return changed, nil
		}
		after = last
	}
}

func (o *Operator) changeSome(ctx context.Context, tx pgx.Tx, a Action, f Filter, after, newest int64) (last int64, n int, err error) {
	w := f.jobs()
	w.and("id > %s", after)
	w.and("id <= %s", newest)
	query := lockJobsQuery + w.arg(step) + " FOR UPDATE"
	rows, err := tx.Query(ctx, o.query(query, w), w.args...)
	if err != nil {
		return 0, 0, err
	}
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
	change := strings.ReplaceAll(changeQuery, "{set}", a.set)
	if _, err := tx.Exec(ctx, o.inSchema(change), idle, o.schema+".river_insert"); err != nil {
		return 0, 0, err
	}
	// Only River knows how to reach the process that works a job. There are
	// never more of these than worker slots.
	for _, id := range running {
		if _, err := o.client.JobCancelTx(ctx, tx, id); err != nil {
			return 0, 0, err
		}
	}
	return last, len(idle) + len(running), nil
}
