package recovery

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
)

// mostRefunds is how often a job's attempt is given back because its process
// died. From then on attempts are spent: a job that kills every process that
// works it must end as discarded one day.
const mostRefunds = 10

// returnToQueue is the half of the recovery queries that they share. Rows are
// locked in key order; SKIP LOCKED, for whoever has a row locked, another
// recovery or a commit, is deciding its fate.
const returnToQueue = `
UPDATE {schema}.river_job AS job
SET state = CASE WHEN job.metadata ? 'cancel_attempted_at' THEN 'cancelled' ELSE 'available' END::{schema}.river_job_state,
	finalized_at = CASE WHEN job.metadata ? 'cancel_attempted_at' THEN now() END,
	scheduled_at = now(),
	attempt = CASE WHEN coalesce((job.metadata->>'recovered')::int, 0) < $1 OR job.attempt >= job.max_attempts THEN greatest(job.attempt - 1, 0) ELSE job.attempt END,
	metadata = jsonb_set(job.metadata, '{recovered}', to_jsonb(coalesce((job.metadata->>'recovered')::int, 0) + 1))
FROM stranded
WHERE job.id = stranded.id
RETURNING job.id, job.queue`

// recoverQuery returns the running jobs of processes that stopped beating. Jobs
// of River clients that never had a heartbeat are none of its business.
const recoverQuery = `
WITH stranded AS MATERIALIZED (
	SELECT job.id
	FROM {schema}.river_job AS job
	JOIN worker_processes AS dead ON dead.client_id = job.attempted_by[array_upper(job.attempted_by, 1)]
	WHERE job.state = 'running' AND dead.beat_at < clock_timestamp() - $2::interval
	ORDER BY job.id
	LIMIT 10000
	FOR UPDATE OF job SKIP LOCKED
)` + returnToQueue

// forgetQuery deletes processes that died long ago and hold nothing.
const forgetQuery = `
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

// recoverOwnQuery returns jobs that this process holds in the database and
// knows nothing of: the answer to a fetch was lost with its connection, or
// River could not write what became of one.
const recoverOwnQuery = `
WITH stranded AS MATERIALIZED (
	SELECT job.id
	FROM {schema}.river_job AS job
	WHERE job.state = 'running' AND job.attempted_by[array_upper(job.attempted_by, 1)] = $2
	  AND job.attempted_at < clock_timestamp() - $3::interval AND NOT job.id = ANY($4::bigint[])
	ORDER BY job.id
	LIMIT 10000
	FOR UPDATE OF job SKIP LOCKED
)` + returnToQueue

func (p *Process) recoverOwn(ctx context.Context) error {
	return p.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		n, err := p.giveBack(ctx, tx, p.query(recoverOwnQuery), mostRefunds, p.clientID, p.options.DeadAfter, p.executingIDs())
		if err != nil {
			return fmt.Errorf("recover jobs lost on the way: %w", err)
		}
		if n > 0 {
			p.options.Logger.WarnContext(ctx, "returned jobs that got lost on the way to this process", slog.Int("jobs", n))
		}
		return nil
	})
}

// giveBack runs one of the queries and wakes the workers of the queues concerned.
func (p *Process) giveBack(ctx context.Context, tx pgx.Tx, sql string, args ...any) (jobs int, err error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	queues := map[string]struct{}{}
	var id int64
	var queue string
	_, err = pgx.ForEachRow(rows, []any{&id, &queue}, func() error {
		jobs++
		queues[queue] = struct{}{}
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
	p.recovered.Add(int64(jobs))
	return jobs, nil
}
