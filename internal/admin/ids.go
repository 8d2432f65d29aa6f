package admin

import (
	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
)

// JobIDs compares the ids of jobs with the versions of activities, each of which is the id of
// the job that stored it.
type JobIDs struct {
	Last   int64 // the newest id that a job was given
	Beyond int64 // a version or a purge with a higher id, 0 for none
}

// WentBack reports whether new jobs get ids below a stored version, so that newer versions of
// activities would be mistaken for older ones.
func (ids JobIDs) WentBack() bool { return ids.Beyond > ids.Last }

const (
	// jobIDsQuery finds a version beyond the newest id, not the highest one as at a start: after
	// a move nearly all of them are beyond. One statement reads all, and the sequence after its
	// snapshot was taken, so that no version that it sees is of a later job.
	jobIDsQuery = `
-- name: snapshot_job_ids
SELECT newest.id, coalesce(
	(SELECT ingest_job_id FROM activities WHERE ingest_job_id > newest.id LIMIT 1),
	(SELECT job_id FROM ingest_versions WHERE job_id > newest.id LIMIT 1),
	(SELECT purged_through FROM user_locks WHERE purged_through > newest.id LIMIT 1), 0)
FROM (SELECT ` + queue.LastIDSQL + ` AS id OFFSET 0) AS newest`

	// followIndexesQuery is for jobIDsQuery alone: not knowing the id, the planner expects a third
	// of each table beyond it, and would scan it for one.
	followIndexesQuery = `
-- name: snapshot_follow_indexes
SET LOCAL enable_seqscan = off`

	followAnythingQuery = `
-- name: snapshot_follow_anything
RESET enable_seqscan`
)

func queueJobIDs(b *pgx.Batch, river queue.Schema, ids *JobIDs) {
	b.Queue(followIndexesQuery)
	b.Queue(river.SQL(jobIDsQuery)).QueryRow(func(row pgx.Row) error { return row.Scan(&ids.Last, &ids.Beyond) })
	b.Queue(followAnythingQuery)
}
