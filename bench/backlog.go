package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
)

// backlogSuite compares the first and the last jobs of a very long queue with a queue
// of as many jobs. To save time the middle is deleted, and vacuumed as it would have
// been while being worked. Between the first and the last jobs, while the worker works,
// operators read the state of the queue.
func backlogSuite(ctx context.Context, r *rig) error {
	if err := r.buildEnqueuer(ctx); err != nil {
		return err
	}
	short, long := training{users: 5000, every: 1, first: 1, last: 20}, training{users: 5000, every: 1, first: 1, last: 1000}
	if r.short {
		short.users, short.last, long.users, long.last = 500, 10, 500, 200
	}
	templates := make([]string, 2)
	for i, t := range []training{short, long} {
		r.say("backlog: inserting %d jobs", t.amount())
		var err error
		if templates[i], err = r.arriving(ctx, t, r.worker); err != nil {
			return err
		}
		if err := r.exec(ctx, templates[i], insertLiveJobs, t.first, 1); err != nil {
			return err
		}
		if err := r.exec(ctx, templates[i], `VACUUM ANALYZE river.river_job`); err != nil {
			return err
		}
	}
	part := short.amount()
	var paces []pace
	seconds := map[string][]float64{}
	scores, err := r.compete(ctx,
		contestant{
			name: fmt.Sprintf("backlog_%d", part), template: templates[0], amount: part, check: short.check(0),
			run: func(ctx context.Context, database string) (outcome, error) {
				return r.work(ctx, database, r.server.URL(database))
			},
		},
		contestant{
			name: "backlog", template: templates[1], amount: 2 * part, check: long.check(0),
			run: func(ctx context.Context, database string) (o outcome, err error) {
				p, err := r.bothEnds(ctx, database, part, seconds)
				paces = append(paces, p)
				o.seconds = float64(part)/p.first + float64(part)/p.last
				return o, err
			},
		})
	if err != nil {
		return err
	}
	var first, last []float64
	for _, p := range paces {
		first, last = append(first, p.first), append(last, p.last)
	}
	rate, correct := median(scores[0].perSecond()), scores[1].fault == ""
	x := "x_" + scores[0].name
	var beside []figure
	for _, c := range adminCommands {
		beside = append(beside, figure{c.name + "_s", c.name + " at most %.3f s", slices.Max(seconds[c.name])})
	}
	r.results = append(r.results, scores[0].result(),
		newResult(fmt.Sprintf("backlog_%d_first", long.amount()), first, correct, append([]figure{{x, "%.2f × the short queue", median(first) / rate}}, beside...)...),
		newResult(fmt.Sprintf("backlog_%d_last", long.amount()), last, correct, figure{x, "%.2f × the short queue", median(last) / rate}))
	for _, template := range templates {
		if err := r.drop(ctx, template); err != nil {
			return err
		}
	}
	return nil
}

// insertLiveJobs inserts the rows that enqueuing would, faster.
const insertLiveJobs = `
INSERT INTO river.river_job (kind, queue, args, priority, max_attempts)
SELECT 'activity_ingest', 'ingest', jsonb_build_object('activities', activities), 1, 25 FROM (` + jobsOfArriving + `) AS job`

// storedQuery counts the table's rows only once the server's statistics, which cost
// nothing, say that there may be enough.
const storedQuery = `
SELECT CASE WHEN n_tup_ins >= %[1]d THEN (SELECT count(*) >= %[1]d FROM activities) ELSE false END
FROM pg_stat_user_tables WHERE relname = 'activities'`

// bothEnds works the beginning of the queue, measures what operators read, deletes the
// middle, and works the end.
func (r *rig) bothEnds(ctx context.Context, database string, part int, seconds map[string][]float64) (p pace, err error) {
	worker, err := r.startWorker(ctx, database)
	if err != nil {
		return p, err
	}
	pool, err := r.open(ctx, database)
	if err != nil {
		return p, err
	}
	defer pool.Close()
	if err := until(ctx, pool, fmt.Sprintf(storedQuery, part), worker); err != nil {
		return p, err
	}
	if err := r.measureCommands(ctx, database, worker, seconds); err != nil {
		return p, err
	}
	if _, err := worker.end(); err != nil {
		return p, err
	}
	begun, err := r.readPace(ctx, database, jobs.QueueIngest, time.Time{}, part)
	if err != nil {
		return p, err
	}
	since, err := deleteMiddle(ctx, pool, part)
	if err != nil {
		return p, err
	}
	if _, err := r.work(ctx, database, r.server.URL(database)); err != nil {
		return p, err
	}
	ended, err := r.readPace(ctx, database, jobs.QueueIngest, since, part)
	return pace{first: begun.first, last: ended.last}, err
}

// deleteMiddleQuery keeps the given number of the newest waiting jobs, and removes the
// activities of deleted ones from arriving.
const deleteMiddleQuery = `
WITH middle AS (
	DELETE FROM river.river_job
	WHERE queue = 'ingest' AND state = 'available'
	  AND id < (SELECT id FROM river.river_job WHERE queue = 'ingest' AND state = 'available' ORDER BY id DESC OFFSET $1::int - 1 LIMIT 1)
	RETURNING (args->'activities'->0->>'activity_id')::bigint AS activity_id
)
DELETE FROM arriving USING middle WHERE arriving.activity_id = middle.activity_id`

// deleteMiddle returns the time when it was done.
func deleteMiddle(ctx context.Context, pool *dbpool.Pool, keep int) (at time.Time, err error) {
	deleted, err := pool.Exec(ctx, deleteMiddleQuery, keep)
	if err != nil {
		return at, err
	}
	if deleted.RowsAffected() == 0 {
		return at, fmt.Errorf("fewer than %d jobs were left to work last", keep)
	}
	// Vacuuming now keeps it out of the measurement of the end.
	for _, sql := range []string{`VACUUM ANALYZE river.river_job`, `VACUUM ANALYZE arriving`, `CHECKPOINT`} {
		if _, err := pool.Exec(ctx, sql); err != nil {
			return at, err
		}
	}
	return at, pool.QueryRow(ctx, `SELECT now()`).Scan(&at)
}
