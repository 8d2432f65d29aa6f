package queue

import (
	"context"

	"github.com/trainingmonkey/worker/dbpool"
)

// dueQuery stops at the first job that can run now or within ten seconds.
const dueQuery = `
-- name: jobs_due
SELECT EXISTS (SELECT FROM {schema}.river_job WHERE state IN ('available', 'running', 'pending') AND queue = ANY($1))
    OR EXISTS (SELECT FROM {schema}.river_job WHERE state IN ('retryable', 'scheduled') AND queue = ANY($1) AND scheduled_at < now() + interval '10 seconds')`

// Due reports whether jobs of the queues can run now or within ten seconds.
func (s Schema) Due(ctx context.Context, db dbpool.Querier, queues []string) (due bool, err error) {
	err = db.QueryRow(ctx, s.SQL(dueQuery), queues).Scan(&due)
	return due, err
}

const countUnfinishedQuery = `
-- name: count_unfinished
SELECT count(*) FROM {schema}.river_job WHERE state IN ('available', 'running', 'pending', 'retryable', 'scheduled') AND queue = ANY($1)`

// CountUnfinished counts the jobs of the queues that are not finished.
func (s Schema) CountUnfinished(ctx context.Context, db dbpool.Querier, queues []string) (n int, err error) {
	err = db.QueryRow(ctx, s.SQL(countUnfinishedQuery), queues).Scan(&n)
	return n, err
}
