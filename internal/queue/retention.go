package queue

import (
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"
)

// deleteFinishedQuery follows the index on state and finalized_at, and compares the
// server's times. River's cleaner compares this machine's, and reads the whole table twice
// a minute. Jobs that another transaction has locked stay until the next time.
const deleteFinishedQuery = `
-- name: delete_finished_jobs
WITH deleted AS (
	DELETE FROM {schema}.river_job WHERE id = ANY(ARRAY(
		SELECT id FROM {schema}.river_job
		WHERE state = $2::{schema}.river_job_state AND finalized_at < now() - $3::interval AND finalized_at >= $4
		ORDER BY finalized_at
		LIMIT $1
		FOR UPDATE SKIP LOCKED))
	RETURNING finalized_at)
SELECT count(*), coalesce(max(finalized_at), $4) FROM deleted`

// DeleteFinished queues the deletion of up to limit jobs that have been in a final state
// for longer than retention, of those that finished at from or later. from becomes the time
// of the last one: while an old snapshot is held, the entries of deleted jobs stay in the
// index, and the next portion need not read them again. The batch must be sent
// outside a transaction.
func (s Schema) DeleteFinished(b *pgx.Batch, state rivertype.JobState, retention time.Duration, limit int, deleted *int64, from *time.Time) {
	b.Queue(byIndexQuery)
	b.Queue(s.SQL(deleteFinishedQuery), limit, string(state), retention, *from).QueryRow(func(row pgx.Row) error { return row.Scan(deleted, from) })
}
