package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
)

// enqueueSuite enqueues one job per activity from one connection, by Go and by SQL: in
// a transaction per job, or per hundred.
func enqueueSuite(ctx context.Context, r *rig) error {
	t := training{users: 1000, every: 1, first: 1, last: 5}
	if r.short {
		t.users, t.last = 20, 20
	}
	template, err := r.arriving(ctx, t, r.worker)
	if err != nil {
		return err
	}
	var contestants []contestant
	for _, c := range []struct {
		name    string
		enqueue enqueueFunc
		atOnce  int
	}{
		{"enqueue_go_1", enqueueGo, 1},
		{"enqueue_go_100", enqueueGo, 100},
		{"enqueue_sql_1", enqueueSQL, 1},
		{"enqueue_sql_100", enqueueSQL, 100},
	} {
		contestants = append(contestants, contestant{
			name: c.name, template: template, amount: t.amount(), check: checkQueue,
			run: func(ctx context.Context, database string) (outcome, error) {
				return r.enqueueAll(ctx, database, c.enqueue, c.atOnce)
			},
		})
	}
	scores, err := r.compete(ctx, contestants...)
	if err != nil {
		return err
	}
	for _, s := range scores {
		r.results = append(r.results, s.result(s.cost()...))
	}
	return r.dropTemplates(ctx, contestants)
}

// enqueueFunc enqueues a job per activity in one transaction.
type enqueueFunc func(ctx context.Context, pool *dbpool.Pool, enqueuer *jobs.Enqueuer, activities []jobs.Activity) error

func (r *rig) enqueueAll(ctx context.Context, database string, enqueue enqueueFunc, atOnce int) (o outcome, err error) {
	pool, err := r.open(ctx, database)
	if err != nil {
		return o, err
	}
	defer pool.Close()
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, jobs.DefaultSchema)
	if err != nil {
		return o, err
	}
	activities, err := readArriving(ctx, pool)
	if err != nil {
		return o, err
	}
	started := time.Now()
	for chunk := range slices.Chunk(activities, atOnce) {
		if err := enqueue(ctx, pool, enqueuer, chunk); err != nil {
			return o, err
		}
	}
	o.seconds = time.Since(started).Seconds()
	return o, nil
}

func enqueueGo(ctx context.Context, _ *dbpool.Pool, enqueuer *jobs.Enqueuer, activities []jobs.Activity) error {
	args := make([]jobs.ActivityIngest, len(activities))
	for i := range activities {
		args[i].Activities = activities[i : i+1]
	}
	_, err := enqueuer.Ingest(ctx, jobs.PriorityLive, args...)
	return err
}

func enqueueSQL(ctx context.Context, pool *dbpool.Pool, _ *jobs.Enqueuer, activities []jobs.Activity) error {
	args := make([]string, len(activities))
	for i := range activities {
		text, err := json.Marshal(activities[i : i+1])
		if err != nil {
			return err
		}
		args[i] = string(text)
	}
	_, err := pool.Exec(ctx, `SELECT count(river.enqueue_activity_ingest(activities)) FROM unnest($1::jsonb[]) AS activities`, args)
	return err
}

// notQueuedQuery counts the arriving activities that are not in exactly one job,
// unchanged, and the jobs in excess.
const notQueuedQuery = `
SELECT (SELECT count(*) FROM arriving
        WHERE (SELECT count(*) FROM queued WHERE activity = to_jsonb(arriving)) <> 1),
       (SELECT count(*) FROM queued) - (SELECT count(*) FROM arriving)`

func checkQueue(ctx context.Context, pool *dbpool.Pool) (fault string, err error) {
	_, err = pool.Exec(ctx, `
CREATE TABLE queued AS SELECT args->'activities'->0 AS activity FROM river.river_job
WHERE kind = 'activity_ingest' AND queue = 'ingest' AND state = 'available' AND jsonb_array_length(args->'activities') = 1`)
	if err != nil {
		return "", err
	}
	if _, err := pool.Exec(ctx, `CREATE INDEX ON queued USING hash (activity)`); err != nil {
		return "", err
	}
	var missing, more int
	if err := pool.QueryRow(ctx, notQueuedQuery).Scan(&missing, &more); err != nil {
		return "", err
	}
	if missing != 0 || more != 0 {
		return fmt.Sprintf("%d activities are not in a job of their own, %d jobs too many", missing, more), nil
	}
	return "", nil
}
