package workers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
)

// versionsBeyondQuery reads the highest id, above a given one, of an activity's
// version or an athlete's purge, 0 for none.
const versionsBeyondQuery = `
-- name: versions_beyond
SELECT greatest(0, (SELECT max(ingest_job_id) FROM activities WHERE ingest_job_id > $1), (SELECT max(job_id) FROM ingest_versions WHERE job_id > $1),
	(SELECT max(purged_through) FROM user_locks WHERE purged_through > $1))`

// IDs compares the ids of jobs with the versions of activities, each of which is
// the id of the job that stored it.
type IDs struct {
	Last   int64 // the newest id that a job was given
	Stored int64 // the newest version or purge with a higher id, 0 for none
}

// WentBack reports whether new jobs get ids below stored versions, so that newer
// versions of activities would be mistaken for older ones. It happens after a move to
// another server by logical replication, which does not replicate sequences, a restore
// of data only, or when River's schema was created again.
func (ids IDs) WentBack() bool { return ids.Stored > ids.Last }

// Err is nil unless the ids went back.
func (ids IDs) Err() error {
	if !ids.WentBack() {
		return nil
	}
	return fmt.Errorf("the ids of jobs went back: job %d stored an activity, and the newest id is %d; newer versions of activities would pass for older ones; run: worker migrate up", ids.Stored, ids.Last)
}

// ReadIDs reads both ids without scanning a whole table.
func ReadIDs(ctx context.Context, pool *dbpool.Pool, schema queue.Schema) (ids IDs, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		b := &pgx.Batch{}
		schema.LastID(b, &ids.Last)
		b.Queue(`SET LOCAL enable_seqscan = off`)
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		// Workers go on meanwhile, so the newest id is read again after the versions.
		b = &pgx.Batch{}
		b.Queue(versionsBeyondQuery, ids.Last).QueryRow(func(row pgx.Row) error { return row.Scan(&ids.Stored) })
		schema.LastID(b, &ids.Last)
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		return ids, fmt.Errorf("compare the ids of jobs with the versions of activities: %w", err)
	}
	return ids, nil
}

// ContinueIDs moves the sequence of job ids beyond all stored versions. It returns the
// ids that it found and how many waiting jobs got new ids.
func ContinueIDs(ctx context.Context, pool *dbpool.Pool, schema queue.Schema) (ids IDs, renumbered int64, err error) {
	if ids, err = ReadIDs(ctx, pool, schema); err != nil || !ids.WentBack() {
		return ids, 0, err
	}
	err = dbpool.UntilLocked(ctx, maxLockWait, func() error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '500ms'`); err != nil {
				return err
			}
			renumbered, err = schema.ContinueIDs(ctx, tx, jobs.KindActivityIngest, ids.Stored)
			return err
		})
	})
	if err != nil {
		return ids, 0, errors.Join(ids.Err(), err)
	}
	return ids, renumbered, nil
}

// maxLockWait is how long ContinueIDs tries to get its lock, for which enqueuers have
// to wait.
const maxLockWait = 27 * time.Second
