package queue

import (
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river/rivertype"
)

// deleteFinishedQuery follows the index on state and finalized_at, and compares the
// server's times. River's cleaner compares this machine's, and reads every job twice
// a minute: of a million, for a second. Jobs that another transaction has locked stay for now.
const deleteFinishedQuery = `
-- name: delete_finished_jobs
DELETE FROM {schema}.river_job WHERE id = ANY(ARRAY(
	SELECT id FROM {schema}.river_job
	WHERE state = $2::{schema}.river_job_state AND finalized_at < now() - $3::interval
	ORDER BY finalized_at
	LIMIT $1
	FOR UPDATE SKIP LOCKED))`

// DeleteFinished queues the deletion of up to limit jobs that have been in a final state
// for longer than retention. The batch must be sent outside a transaction.
func (s Schema) DeleteFinished(b *pgx.Batch, state rivertype.JobState, retention time.Duration, limit int, deleted *int64) {
	b.Queue(byIndexQuery)
	b.Queue(s.SQL(deleteFinishedQuery), limit, string(state), retention).Exec(func(tag pgconn.CommandTag) error {
		*deleted = tag.RowsAffected()
		return nil
	})
}
