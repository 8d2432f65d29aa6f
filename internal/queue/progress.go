package queue

import (
	"context"
	"fmt"

	"github.com/trainingmonkey/worker/dbpool"
)

// Progress counts finished and failed jobs.
type Progress struct {
	Unfinished int
	Failed     int    // discarded or cancelled
	LastError  string // of one of the failed jobs; "" for none
}

// progressQuery does not count deleted jobs as unfinished or failed: they were completed
// and then cleaned up.
const progressQuery = `
-- name: queue_progress
SELECT count(*) FILTER (WHERE ` + unfinished + `),
       count(*) FILTER (WHERE state IN ('discarded', 'cancelled')),
       coalesce(max(errors[array_upper(errors, 1)]->>'error') FILTER (WHERE state IN ('discarded', 'cancelled')), '')
FROM {schema}.river_job
WHERE id = ANY($1)`

// Progress returns the progress of the jobs with the given ids.
func (s Schema) Progress(ctx context.Context, db dbpool.Querier, ids []int64) (p Progress, err error) {
	if err := db.QueryRow(ctx, s.SQL(progressQuery), ids).Scan(&p.Unfinished, &p.Failed, &p.LastError); err != nil {
		return p, fmt.Errorf("read the progress of jobs: %w", err)
	}
	return p, nil
}

const newestOfKindQuery = `
-- name: queue_newest_of_kind
SELECT coalesce(max(id), 0) FROM {schema}.river_job WHERE kind = $1`

// NewestOfKind returns the id of the newest job of a kind, 0 for none.
func (s Schema) NewestOfKind(ctx context.Context, db dbpool.Querier, kind string) (id int64, err error) {
	if err := db.QueryRow(ctx, s.SQL(newestOfKindQuery), kind).Scan(&id); err != nil {
		return 0, fmt.Errorf("read the newest %s: %w", kind, err)
	}
	return id, nil
}

const kindProgressQuery = `
-- name: queue_kind_progress
SELECT count(*) FILTER (WHERE ` + unfinished + `),
       count(*) FILTER (WHERE state IN ('discarded', 'cancelled') AND id > $3),
       coalesce(max(errors[array_upper(errors, 1)]->>'error') FILTER (WHERE state IN ('discarded', 'cancelled') AND id > $3), '')
FROM {schema}.river_job
WHERE kind = $1 AND id <= $2`

// KindProgress returns the progress of the jobs of a kind with ids up to upTo.
// Only ids above after count as failed.
func (s Schema) KindProgress(ctx context.Context, db dbpool.Querier, kind string, upTo, after int64) (p Progress, err error) {
	if err := db.QueryRow(ctx, s.SQL(kindProgressQuery), kind, upTo, after).Scan(&p.Unfinished, &p.Failed, &p.LastError); err != nil {
		return p, fmt.Errorf("read the progress of %s: %w", kind, err)
	}
	return p, nil
}
