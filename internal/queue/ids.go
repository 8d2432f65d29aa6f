package queue

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// lastID is an SQL expression: the newest id that a job was given, 0 if none was.
const lastID = `coalesce(pg_sequence_last_value(pg_get_serial_sequence('{schema}.river_job', 'id')::regclass), 0)`

// LastID queues the reading of the newest id that a job was given.
func (s Schema) LastID(b *pgx.Batch, last *int64) {
	b.Queue(s.SQL("-- name: last_job_id\nSELECT " + lastID)).QueryRow(func(row pgx.Row) error { return row.Scan(last) })
}

// visibleLastIDQuery returns 0 to roles that may only read, to which the server refuses it.
const visibleLastIDQuery = `
-- name: visible_last_job_id
SELECT CASE WHEN has_sequence_privilege(pg_get_serial_sequence('{schema}.river_job', 'id'), 'SELECT, USAGE') THEN ` + lastID + ` ELSE 0 END`

// VisibleLastID is LastID for every role, and 0 for one that may not see it.
func (s Schema) VisibleLastID(b *pgx.Batch, last *int64) {
	b.Queue(s.SQL(visibleLastIDQuery)).QueryRow(func(row pgx.Row) error { return row.Scan(last) })
}

const (
	// lockQueueQuery waits for transactions that insert jobs, so that no old id is still
	// uncommitted, and for those that work jobs.
	lockQueueQuery = `
-- name: lock_queue
LOCK TABLE {schema}.river_job IN EXCLUSIVE MODE`

	// idRangeQuery reads the newest id that the sequence gave, and the highest id of all
	// known jobs.
	idRangeQuery = `
-- name: newest_ids
SELECT ` + lastID + `, greatest($1, ` + lastID + `, (SELECT max(id) FROM {schema}.river_job))`

	// renumberQuery gives unfinished jobs of a kind new ids beyond $1, in the order in
	// which they were enqueued. It renumbers jobs with ids up to $2 that were enqueued
	// after the last job with an id beyond $2, that is, after the ids went back.
	renumberQuery = `
-- name: renumber_jobs
WITH fresh AS (
	SELECT id AS old, $1 + row_number() OVER (ORDER BY created_at, id) AS new
	FROM {schema}.river_job
	WHERE id <= $2 AND kind = $3 AND state <> 'completed'
	  AND created_at >= coalesce((SELECT max(created_at) FROM {schema}.river_job WHERE id > $2), '-infinity')
)
UPDATE {schema}.river_job AS job SET id = fresh.new FROM fresh WHERE job.id = fresh.old`

	// continueIDsQuery comes last: no rollback undoes it.
	continueIDsQuery = `
-- name: continue_job_ids
SELECT setval(pg_get_serial_sequence('{schema}.river_job', 'id'), $1)`
)

// ContinueIDs moves the sequence of job ids beyond an id that another table refers to,
// after the sequence went back. It renumbers waiting jobs of a kind that got low ids since
// then, so that they are not mistaken for older ones.
func (s Schema) ContinueIDs(ctx context.Context, tx pgx.Tx, kind string, beyond int64) (renumbered int64, err error) {
	if _, err := tx.Exec(ctx, s.SQL(lockQueueQuery)); err != nil {
		return 0, fmt.Errorf("lock the queue: %w", err)
	}
	var last, newest int64
	if err := tx.QueryRow(ctx, s.SQL(idRangeQuery), beyond).Scan(&last, &newest); err != nil {
		return 0, fmt.Errorf("read the newest ids: %w", err)
	}
	tag, err := tx.Exec(ctx, s.SQL(renumberQuery), newest, last, kind)
	if err != nil {
		return 0, fmt.Errorf("give the waiting jobs new ids: %w", err)
	}
	renumbered = tag.RowsAffected()
	if _, err := tx.Exec(ctx, s.SQL(continueIDsQuery), newest+renumbered); err != nil {
		return 0, fmt.Errorf("raise the sequence: %w", err)
	}
	return renumbered, nil
}
