package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/jobs"
)

// RetriedRejects is the outcome of retrying rejects.
type RetriedRejects struct {
	Retried int64   `json:"retried"`
	JobIDs  []int64 `json:"job_ids"` // never nil
	Left    []Left  `json:"left"`    // never nil
}

// Left is a reject that stays one.
type Left struct {
	ID     int64  `json:"id"`
	Reason string `json:"reason"`
}

var errSuperseded = errors.New("a newer version of the activity has come since; drop this one")

// lockRejectsQuery locks the next rejects in key order and returns which of them are
// superseded by a newer version that is stored, deleted, rejected or still waiting: a new
// job would make the old version the newest. It reads waiting jobs once for all rejects.
const lockRejectsQuery = `
-- name: admin_lock_rejects
WITH locked AS MATERIALIZED (
	SELECT id, job_id, user_id, activity_id, payload FROM ingest_rejects
	WHERE {where} AND id > @after AND id <= @newest ORDER BY id LIMIT @limit FOR UPDATE
), newest AS MATERIALIZED (
	SELECT DISTINCT ON (user_id, activity_id) user_id, activity_id, versions.id
	FROM (SELECT DISTINCT user_id, activity_id FROM locked) AS sought JOIN ingest_rejects AS versions USING (user_id, activity_id)
	ORDER BY user_id, activity_id, versions.job_id DESC, versions.id DESC
), waiting AS MATERIALIZED ({waiting})
SELECT locked.id, locked.payload,
       newest.id <> locked.id
       OR EXISTS (SELECT FROM activities AS a
                  WHERE a.activity_id = locked.activity_id AND a.user_id = locked.user_id AND a.ingest_job_id >= locked.job_id)
       OR EXISTS (SELECT FROM ingest_versions AS v
                  WHERE v.user_id = locked.user_id AND v.activity_id = locked.activity_id AND v.job_id >= locked.job_id)
       OR EXISTS (SELECT FROM waiting AS w
                  WHERE w.id > locked.job_id AND w.user_id = to_jsonb(locked.user_id) AND w.activity_id = to_jsonb(locked.activity_id))
FROM locked
LEFT JOIN newest ON newest.user_id = locked.user_id AND newest.activity_id = locked.activity_id
ORDER BY locked.id`

func (o *Actions) lockRejects() string {
	waiting := o.river.WaitingActivities("SELECT to_jsonb(activity_id) FROM locked")
	return strings.Replace(lockRejectsQuery, "{waiting}", waiting, 1)
}

const deleteRejectsQuery = `
-- name: admin_delete_rejects
DELETE FROM ingest_rejects WHERE id = ANY($1::bigint[])`

// RetryRejects enqueues the rejects of a preview again, each exactly once: one commit
// inserts the job and deletes the reject. Rejects that are still invalid, or superseded
// by a newer version, stay and are returned.
func (o *Actions) RetryRejects(ctx context.Context, f Filter, p RejectPreview) (all RetriedRejects, err error) {
	all = RetriedRejects{JobIDs: []int64{}, Left: []Left{}}
	for after := int64(0); ; {
		var some retriedSome
		err := o.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			some, err = o.retrySome(ctx, tx, f, after, p)
			return err
		})
		if err != nil {
			return all, fmt.Errorf("retry rejects: %w", err)
		}
		all.Retried += int64(len(some.ids))
		all.JobIDs = append(all.JobIDs, some.jobIDs...)
		all.Left = append(all.Left, some.left...)
		if len(some.ids)+len(some.left) < step {
			return all, nil
		}
		after = some.last
	}
}

// retriedSome is the outcome of one transaction.
type retriedSome struct {
	ids, jobIDs []int64
	left        []Left
	last        int64
}

func (o *Actions) retrySome(ctx context.Context, tx pgx.Tx, f Filter, after int64, p RejectPreview) (some retriedSome, err error) {
	args := pgx.NamedArgs{"after": after, "newest": p.newest, "limit": step}
	rows, _ := tx.Query(ctx, f.put(o.lockRejects(), args), args)
	var activities []jobs.Activity
	var payload json.RawMessage
	var superseded *bool
	_, err = pgx.ForEachRow(rows, []any{&some.last, &payload, &superseded}, func() error {
		activity, fault := jobs.DecodeActivity(payload)
		if fault == nil && superseded != nil && *superseded {
			fault = errSuperseded
		}
		if fault == nil {
			some.ids = append(some.ids, some.last)
			activities = append(activities, activity)
		} else {
			some.left = append(some.left, Left{some.last, fault.Error()})
		}
		return nil
	})
	if err != nil || len(activities) == 0 {
		return some, err
	}
	if _, err := tx.Exec(ctx, deleteRejectsQuery, some.ids); err != nil {
		return some, err
	}
	priority := jobs.PriorityLive
	if p.Rejects > jobs.MaxLiveActivities {
		priority = jobs.PriorityBulk
	}
	some.jobIDs, err = o.enqueuer.IngestTx(ctx, tx, priority, jobs.ActivityIngest{Activities: activities})
	return some, err
}
