package recovery

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// mostRefunds is how often a job's attempt is given back because its process
// died. From then on attempts are spent: a job that kills every process that
// works it must end as discarded one day.
const mostRefunds = 10

// returnToQueue is the half of the recovery queries that they share. Rows are
// locked in key order; SKIP LOCKED, for whoever has a row locked, another
// recovery or a commit, is deciding its fate. A spent attempt leaves an error,
// as a failed one would, and the last of them discards the job; one that was
// cancelled while it ran keeps its attempt. Whatever stands in metadata must
// not fail the statement, for that would strand all other jobs as well.
const returnToQueue = `, judged AS (
	SELECT job.*, job.metadata ? 'cancel_attempted_at' AS cancelled,
		recovered >= $1::int AS spent, recovered >= $1::int AND attempt >= max_attempts AS exhausted
	FROM (
		SELECT stranded.*, CASE jsonb_typeof(metadata->'recovered') WHEN 'number' THEN (metadata->>'recovered')::numeric ELSE 0 END AS recovered
		FROM stranded
	) AS job
)
UPDATE {schema}.river_job AS job
SET state = CASE WHEN cancelled THEN 'cancelled' WHEN exhausted THEN 'discarded' ELSE 'available' END::{schema}.river_job_state,
	finalized_at = CASE WHEN cancelled OR exhausted THEN now() END,
	scheduled_at = CASE WHEN cancelled OR exhausted THEN job.scheduled_at ELSE now() END,
	attempt = CASE WHEN cancelled OR spent THEN job.attempt ELSE greatest(job.attempt - 1, 0) END,
	errors = CASE WHEN spent AND NOT cancelled THEN array_append(job.errors, jsonb_build_object(
		'at', now(), 'attempt', job.attempt, 'trace', '',
		'error', format('its process died while it ran, for the %s. time', recovered + 1))) ELSE job.errors END,
	metadata = job.metadata || jsonb_build_object('recovered', recovered + 1)
FROM judged
WHERE job.id = judged.id
RETURNING job.id, job.queue, job.kind, job.state = 'discarded'`

// recoverQuery returns the running jobs of processes that stopped beating. Jobs
// of River clients that never had a heartbeat are none of its business.
const recoverQuery = `
-- name: recovery_dead
WITH stranded AS MATERIALIZED (
	SELECT job.id, job.attempt, job.max_attempts, job.metadata
	FROM {schema}.river_job AS job
	JOIN worker_processes AS dead ON dead.client_id = job.attempted_by[array_upper(job.attempted_by, 1)]
	WHERE job.state = 'running' AND dead.beat_at < clock_timestamp() - $2::interval
	ORDER BY job.id
	LIMIT 10000
	FOR UPDATE OF job SKIP LOCKED
)` + returnToQueue

// forgetQuery deletes processes that died long ago and hold nothing.
const forgetQuery = `
-- name: recovery_forget
DELETE FROM worker_processes AS dead
WHERE dead.beat_at < clock_timestamp() - interval '1 day' AND NOT EXISTS (
	SELECT FROM {schema}.river_job AS job
	WHERE job.state = 'running' AND job.attempted_by[array_upper(job.attempted_by, 1)] = dead.client_id)`

func (p *Process) recover(ctx context.Context) error {
	return p.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		n, err := p.giveBack(ctx, tx, p.query(recoverQuery), mostRefunds, p.options.DeadAfter)
		if err != nil {
			return fmt.Errorf("recover the jobs of dead processes: %w", err)
		}
		if n > 0 {
			p.options.Logger.WarnContext(ctx, "returned the jobs of dead processes to their queues", slog.Int("jobs", n))
		}
		_, err = tx.Exec(ctx, p.query(forgetQuery))
		return err
	})
}

// strangersQuery finds jobs that this process holds in the database and knows
// nothing of: the answer to a fetch was lost with its connection, or River could
// not write what became of one. Or the job is still on its way from its fetch to
// its worker, which takes long on a machine that is too busy.
const strangersQuery = `
-- name: recovery_strangers
SELECT job.id, job.attempted_at
FROM {schema}.river_job AS job
WHERE job.state = 'running' AND job.attempted_by[array_upper(job.attempted_by, 1)] = $1
  AND job.attempted_at < clock_timestamp() - $2::interval AND NOT job.id = ANY($3::bigint[])`

// recoverOwnQuery returns those that were strangers twice.
const recoverOwnQuery = `
-- name: recovery_own
WITH stranded AS MATERIALIZED (
	SELECT job.id, job.attempt, job.max_attempts, job.metadata
	FROM {schema}.river_job AS job
	WHERE job.state = 'running' AND job.attempted_by[array_upper(job.attempted_by, 1)] = $2
	  AND job.attempted_at < clock_timestamp() - $3::interval AND job.id = ANY($4::bigint[])
	ORDER BY job.id
	LIMIT 10000
	FOR UPDATE OF job SKIP LOCKED
)` + returnToQueue

func (p *Process) recoverOwn(ctx context.Context) error {
	return p.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		twice, err := p.strangersTwice(ctx, tx)
		if err != nil || len(twice) == 0 {
			return err
		}
		n, err := p.giveBack(ctx, tx, p.query(recoverOwnQuery), mostRefunds, p.clientID, p.options.Interval, twice)
		if err != nil {
			return fmt.Errorf("recover jobs lost on the way: %w", err)
		}
		if n > 0 {
			p.options.Logger.WarnContext(ctx, "returned jobs that got lost on the way to this process", slog.Int("jobs", n))
		}
		return nil
	})
}

// strangersTwice returns the strangers that were already strangers, in the same
// attempt, at the previous look.
func (p *Process) strangersTwice(ctx context.Context, tx pgx.Tx) (twice []int64, err error) {
	rows, err := tx.Query(ctx, p.query(strangersQuery), p.clientID, p.options.Interval, p.executingIDs())
	if err != nil {
		return nil, fmt.Errorf("look for jobs lost on the way: %w", err)
	}
	now := map[int64]time.Time{}
	var id int64
	var attemptedAt time.Time
	_, err = pgx.ForEachRow(rows, []any{&id, &attemptedAt}, func() error {
		if p.strangers[id].Equal(attemptedAt) {
			twice = append(twice, id)
		}
		now[id] = attemptedAt
		return nil
	})
	p.strangers = now
	return twice, err
}

// giveBack runs one of the queries and wakes the workers of the queues concerned.
func (p *Process) giveBack(ctx context.Context, tx pgx.Tx, sql string, args ...any) (jobs int, err error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	queues, kinds := map[string]struct{}{}, map[string]int64{}
	var id int64
	var queue, kind string
	var discarded bool
	_, err = pgx.ForEachRow(rows, []any{&id, &queue, &kind, &discarded}, func() error {
		jobs++
		queues[queue] = struct{}{}
		kinds[kind]++
		if discarded {
			p.options.Logger.ErrorContext(ctx, "job discarded, its process died on every attempt", slog.Int64("job_id", id))
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for queue := range queues {
		if _, err := tx.Exec(ctx, `SELECT pg_notify($1, json_build_object('queue', $2::text)::text)`, p.options.RiverSchema+".river_insert", queue); err != nil {
			return 0, err
		}
	}
	p.countRecovered(kinds)
	return jobs, nil
}
