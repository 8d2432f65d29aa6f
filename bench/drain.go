package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
)

// queuesEmpty does not count jobs, which would slow down the work.
const queuesEmpty = `
SELECT NOT EXISTS (SELECT FROM river.river_job WHERE state IN ('available', 'running', 'retryable', 'scheduled', 'pending'))`

// drainTimeQuery measures, by the server's clock, from the first fetch to the last
// commit of a job, or if completed jobs are not kept, from the first to the last commit
// of an activity.
const drainTimeQuery = `
SELECT extract(epoch FROM coalesce(
	(SELECT max(pg_xact_commit_timestamp(xmin)) - min(attempted_at) FROM river.river_job),
	(SELECT max(pg_xact_commit_timestamp(xmin)) - min(pg_xact_commit_timestamp(xmin)) FROM activities)))`

// work has this checkout's worker empty the queues of a database, which it reaches at url.
func (r *rig) work(ctx context.Context, database, url string) (outcome, error) {
	return r.workWith(ctx, r.worker, database, url, nil)
}

// workWith is work with any worker and settings, and with meanwhile running until the
// queues are empty, when its context ends.
func (r *rig) workWith(ctx context.Context, binary, database, url string, meanwhile func(context.Context, *process), settings ...string) (o outcome, err error) {
	p, err := r.launch(ctx, binary, url, settings...)
	if err != nil {
		return o, err
	}
	return r.drain(ctx, database, meanwhile, p)
}

// drain waits until the workers have emptied the queues, and ends them. The outcome's
// memory is the largest worker's.
func (r *rig) drain(ctx context.Context, database string, meanwhile func(context.Context, *process), workers ...*process) (o outcome, err error) {
	pool, err := r.open(ctx, database)
	if err != nil {
		return o, err
	}
	defer pool.Close()
	var wg sync.WaitGroup
	working, stop := context.WithCancel(ctx)
	if meanwhile != nil {
		wg.Go(func() { meanwhile(working, workers[0]) })
	}
	err = until(ctx, pool, queuesEmpty, workers...)
	stop()
	wg.Wait()
	if err != nil {
		return o, err
	}
	for _, p := range workers {
		counted, err := p.countRoundTrips(ctx)
		if err != nil {
			return o, err
		}
		took, err := p.end()
		if err != nil {
			return o, err
		}
		o.roundTrips += counted
		o.processor += took.processor
		o.memory = max(o.memory, took.memory)
	}
	return o, pool.QueryRow(ctx, drainTimeQuery).Scan(&o.seconds)
}

// until polls the database until the query returns true. The workers must stay alive
// until then.
func until(ctx context.Context, pool *dbpool.Pool, question string, workers ...*process) error {
	for {
		var yes bool
		if err := pool.QueryRow(ctx, question).Scan(&yes); err != nil || yes {
			return err
		}
		for _, p := range workers {
			select {
			case <-p.ended:
				return fmt.Errorf("worker ended: %w", p.err)
			default:
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// countRoundTrips returns how many statements and batches of them a worker has sent, by
// its metrics, and 0 if it serves none.
func (p *process) countRoundTrips(ctx context.Context) (n int64, err error) {
	select {
	case <-p.served:
	default:
		return 0, nil
	}
	text, err := p.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "tmworker_statement_duration_seconds_count{"); ok {
			_, count, _ := strings.Cut(rest, "} ")
			value, err := strconv.ParseFloat(strings.TrimSpace(count), 64)
			if err != nil {
				return 0, err
			}
			n += int64(value)
		}
	}
	return n, nil
}
