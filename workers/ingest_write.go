package workers

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/lane"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
)

// removeQuery deletes rows, locking them in key order first.
const removeQuery = `
-- name: remove_activities
DELETE FROM activities WHERE activity_id IN (
	SELECT activity_id FROM activities WHERE activity_id = ANY($1::bigint[]) ORDER BY activity_id FOR UPDATE)`

// rejectQuery records rejected activities.
const rejectQuery = `
-- name: record_rejects
INSERT INTO ingest_rejects (job_id, user_id, activity_id, payload, reason)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::jsonb[], $5::text[])`

// recordVersionsQuery keeps the newest version of each activity and user.
const recordVersionsQuery = `
-- name: record_versions
INSERT INTO ingest_versions AS old (user_id, activity_id, job_id)
SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[])
ON CONFLICT (user_id, activity_id) DO UPDATE
SET job_id = excluded.job_id, recorded_at = excluded.recorded_at, layers = NULL
WHERE old.job_id < excluded.job_id`

// confirmVersionsQuery is recordVersionsQuery for versions that no row records, or not
// fully. It records them only if an older version may still be worked, or if an existing
// record is outdated because an older version was placed below it.
func confirmVersionsQuery(schema queue.Schema) string {
	return `
-- name: confirm_versions
INSERT INTO ingest_versions AS old (user_id, activity_id, job_id, layers)
SELECT user_id, activity_id, job_id, layers
FROM unnest($1::int[], $2::bigint[], $3::bigint[], $7::jsonb[], $8::bool[]) AS given (user_id, activity_id, job_id, layers, replaces)
WHERE replaces OR ` + schema.OlderMayWait("$4::bigint", "$5::text[]", "$6::bigint[]") + `
ON CONFLICT (user_id, activity_id) DO UPDATE
SET job_id = excluded.job_id, recorded_at = excluded.recorded_at, layers = excluded.layers
WHERE old.job_id < excluded.job_id OR old.job_id = excluded.job_id AND excluded.layers IS NOT NULL`
}

// write queues everything that the plan changes. If another transaction inserted or
// deleted one of the rows meanwhile, the batch fails with ErrRaced and is retried.
func (in *ingester) write(plan *ingestPlan, results planResults, jobIDs []int64) (lane.Writes, error) {
	b := &pgx.Batch{}
	added, kept := plan.upserts()
	if ids := plan.removals(); len(ids) > 0 {
		b.Queue(removeQuery, ids)
	}
	if records := plan.tombstones(); len(records.jobIDs) > 0 {
		b.Queue(recordVersionsQuery, records.userIDs, records.activityIDs, records.jobIDs)
	}
	queueRejects(b, plan.rejects)
	written := map[int64]bool{}
	if len(added.activities) > 0 {
		args, err := added.args(results)
		if err != nil {
			return lane.Writes{}, err
		}
		b.Queue(in.statements.of(added).insert, args...).Query(func(rows pgx.Rows) error {
			var id int64
			if _, err := pgx.ForEachRow(rows, []any{&id}, func() error {
				written[id] = true
				return nil
			}); err != nil {
				return err
			}
			for _, a := range added.activities {
				if !written[a.ActivityID] {
					return fmt.Errorf("insert activity %d: the row was not inserted, by a trigger perhaps, or somebody else's was first: %w", a.ActivityID, dbpool.ErrRaced)
				}
			}
			return nil
		})
	}
	if len(kept.activities) > 0 {
		args, err := kept.args(results)
		if err != nil {
			return lane.Writes{}, err
		}
		b.Queue(in.statements.of(kept).update, args...).Query(func(rows pgx.Rows) error {
			var id int64
			var gone bool
			_, err := pgx.ForEachRow(rows, []any{&id, &gone}, func() error {
				if gone {
					return fmt.Errorf("update activity %d: somebody else has deleted the row, or given it to another user: %w", id, dbpool.ErrRaced)
				}
				written[id] = true
				return nil
			})
			return err
		})
	}
	if len(results.following) > 0 {
		results.following.queue(b)
	}
	after := func(ctx context.Context, tx pgx.Tx) error {
		if err := in.confirm(ctx, tx, plan.confirmed(written), jobIDs); err != nil {
			return err
		}
		return in.enqueueRecalc(ctx, tx, results.left)
	}
	return lane.Writes{Batch: b, After: after}, nil
}

func queueRejects(statements *pgx.Batch, rejects []reject) {
	if len(rejects) == 0 {
		return
	}
	var jobIDs []int64
	var userIDs, activityIDs []*int64
	var payloads, reasons []string
	for _, r := range rejects {
		payload := r.item.payload()
		userID, activityID := partialIDs(payload)
		jobIDs = append(jobIDs, r.jobID)
		userIDs, activityIDs = append(userIDs, userID), append(activityIDs, activityID)
		payloads, reasons = append(payloads, string(payload)), append(reasons, queue.WithoutNUL(r.reason))
	}
	statements.Queue(rejectQuery, jobIDs, userIDs, activityIDs, payloads, reasons)
}

// partialIDs returns the ids in a payload, nil for each that it lacks.
func partialIDs(payload json.RawMessage) (userID, activityID *int64) {
	var ids map[string]json.RawMessage
	if json.Unmarshal(payload, &ids) != nil {
		return nil, nil
	}
	read := func(name string) *int64 {
		var id int64
		if raw, ok := ids[name]; !ok || json.Unmarshal(raw, &id) != nil || string(raw) == "null" {
			return nil
		}
		return &id
	}
	return read("user_id"), read("activity_id")
}

// confirm records versions that needed no write, if an older one may still be
// worked: without the record the older one would be mistaken for the newest.
func (in *ingester) confirm(ctx context.Context, tx pgx.Tx, records versionRecords, jobIDs []int64) error {
	if len(records.jobIDs) == 0 {
		return nil
	}
	query := confirmVersionsQuery(in.schema)
	queues := []string{jobs.QueueIngest, jobs.QueueIngestBulk}
	if _, err := tx.Exec(ctx, query, records.userIDs, records.activityIDs, records.jobIDs, slices.Max(jobIDs), queues, jobIDs, records.layers, records.replaces); err != nil {
		return fmt.Errorf("record versions: %w", err)
	}
	return nil
}

// enqueueRecalc inserts an acwr_recalc job for the changed dates whose results
// this commit does not contain, or several jobs if they exceed MaxRangesPerJob.
func (in *ingester) enqueueRecalc(ctx context.Context, tx pgx.Tx, changed map[int32][]int32) error {
	var ranges []jobs.DateRange
	for _, userID := range slices.Sorted(maps.Keys(changed)) {
		ranges = append(ranges, recalcRanges(userID, changed[userID])...)
	}
	for part := range slices.Chunk(ranges, jobs.MaxRangesPerJob) {
		if _, err := in.enqueuer.RecalcTx(ctx, tx, in.recalcPriority, jobs.ACWRRecalc{Ranges: part}); err != nil {
			return err
		}
	}
	return nil
}
