package admin

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
)

// JobIDs compares the ids of jobs with the versions of activities, each of which is the id of
// the job that stored it.
type JobIDs struct {
	Last   int64 // the newest id that a job was given; 0 for a role that may not see it
	Beyond int64 // a version or a purge with a higher id, 0 for none; see Watch.compareIDs
}

// WentBack reports whether new jobs get ids below a stored version, so that newer versions of
// activities would be mistaken for older ones.
func (ids JobIDs) WentBack() bool { return ids.Beyond > ids.Last }

// idsBeyondQuery finds a version beyond an id, not the highest one as at a start: after a
// move nearly all of them are beyond.
const idsBeyondQuery = `
-- name: snapshot_ids_beyond
SELECT coalesce(
	(SELECT ingest_job_id FROM activities WHERE ingest_job_id > $1 LIMIT 1),
	(SELECT job_id FROM ingest_versions WHERE job_id > $1 LIMIT 1),
	(SELECT purged_through FROM user_locks WHERE purged_through > $1 LIMIT 1), 0)`

// compareIDs searches for versions beyond the newest id only if that is below what a former
// snapshot saw, because during an import the index has not summarized up to a minute's rows.
func (w *Watch) compareIDs(ctx context.Context, ids *JobIDs) error {
	if ids.Last == 0 || ids.Last >= w.highestID {
		w.highestID = ids.Last
		return nil
	}
	err := pgx.BeginTxFunc(ctx, w.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		// Not knowing the id, the planner would expect a third of each table beyond it.
		if _, err := tx.Exec(ctx, `SET LOCAL enable_seqscan = off`); err != nil {
			return err
		}
		b := &pgx.Batch{}
		b.Queue(idsBeyondQuery, ids.Last).QueryRow(func(row pgx.Row) error { return row.Scan(&ids.Beyond) })
		queue.Schema(w.options.RiverSchema).VisibleLastID(b, &ids.Last) // again: a later job may have stored the version
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return fmt.Errorf("compare job ids with stored versions: %w", err)
	}
	if !ids.WentBack() {
		w.highestID = ids.Last
	}
	return nil
}
