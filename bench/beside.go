package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// otherAthlete is in no training.
const otherAthlete = 2_000_000_000

// waitingEmpty reports whether the waiting jobs are done, regardless of later ones.
const waitingEmpty = `
SELECT NOT EXISTS (SELECT FROM river.river_job WHERE state IN ('available', 'running', 'retryable', 'scheduled', 'pending') AND id <= %d)`

// waitingTimeQuery is drainTimeQuery for the waiting jobs only.
const waitingTimeQuery = `
SELECT extract(epoch FROM max(pg_xact_commit_timestamp(xmin)) - min(attempted_at)) FROM river.river_job WHERE id <= $1`

// workBeside has the worker work the waiting jobs of a database while single activities
// of another athlete arrive at a rate, from the worker's first commit on.
func (r *rig) workBeside(ctx context.Context, database string, rate int) (o outcome, l latency, err error) {
	pool, err := r.open(ctx, database)
	if err != nil {
		return o, l, err
	}
	defer pool.Close()
	a, err := newArrivals(pool)
	if err != nil {
		return o, l, err
	}
	a.firstAthlete = otherAthlete
	var newest int64
	if err := pool.QueryRow(ctx, `SELECT max(id) FROM river.river_job`).Scan(&newest); err != nil {
		return o, l, err
	}
	worker, err := r.launch(ctx, r.worker, r.server.URL(database))
	if err != nil {
		return o, l, err
	}
	if err := until(ctx, pool, `SELECT EXISTS (SELECT FROM activities)`, worker); err != nil {
		return o, l, err
	}
	working, done := context.WithCancelCause(ctx)
	go func() { done(until(ctx, pool, fmt.Sprintf(waitingEmpty, newest), worker)) }()
	if l, err = a.measureUntil(ctx, working, rate); err != nil {
		return o, l, err
	}
	if err := context.Cause(working); !errors.Is(err, context.Canceled) {
		return o, l, err
	}
	if o, err = r.drain(ctx, database, nil, worker); err != nil {
		return o, l, err
	}
	return o, l, pool.QueryRow(ctx, waitingTimeQuery, newest).Scan(&o.seconds)
}

// pace is how many jobs per second a worker completed at first and at last.
type pace struct{ first, last float64 }

// paceQuery selects the first and the last completed jobs of a queue, a given number of
// each, and all others of the same commits, so that a large commit counts completely.
const paceQuery = `
WITH done AS MATERIALIZED (
	SELECT attempted_at, pg_xact_commit_timestamp(xmin) AS at FROM river.river_job
	WHERE queue = $1 AND state = 'completed' AND attempted_at >= $2
), edges AS (
	SELECT (SELECT min(attempted_at) FROM done) AS began,
	       (SELECT at FROM done ORDER BY at OFFSET $3::int - 1 LIMIT 1) AS first_until,
	       (SELECT at FROM done ORDER BY at DESC OFFSET $3::int - 1 LIMIT 1) AS last_from
), spans AS (
	SELECT began, first_until, coalesce((SELECT max(at) FROM done WHERE at < last_from), began) AS last_after FROM edges
)
SELECT count(*) FILTER (WHERE at <= first_until) / extract(epoch FROM first_until - began)::float8,
       count(*) FILTER (WHERE at > last_after) / extract(epoch FROM max(at) - last_after)::float8
FROM done, spans
GROUP BY began, first_until, last_after`

// readPace reads the pace of the jobs fetched from a queue since a time.
func (r *rig) readPace(ctx context.Context, database, queue string, since time.Time, jobs int) (p pace, err error) {
	pool, err := r.open(ctx, database)
	if err != nil {
		return p, err
	}
	defer pool.Close()
	return p, pool.QueryRow(ctx, paceQuery, queue, since, jobs).Scan(&p.first, &p.last)
}
