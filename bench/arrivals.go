package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
)

// latencyQuery measures, by the server's clock, from the transaction that enqueued an
// activity to the commit with its ACWR, after which nothing writes the row. It counts
// the activities with a correct ACWR: each is the only one in its windows.
const latencyQuery = `
WITH measured AS (
	SELECT extract(epoch FROM pg_xact_commit_timestamp(a.xmin) - j.created_at) * 1000 AS ms,
	       a.total_load_miles::float8 AS external_load, a.trimp::float8 AS internal_load, a.*
	FROM activities AS a JOIN river.river_job AS j ON j.id = a.ingest_job_id
	WHERE a.activity_id BETWEEN $1 AND $2
)
SELECT count(*) FILTER (WHERE
	(seven_day_avg_load, twentyeight_day_avg_load, seven_day_avg_trimp, twentyeight_day_avg_trimp, acute_chronic_ratio, trimp_acute_chronic_ratio, normalized_divergence)
	= ((external_load / 7)::real, (external_load / 28)::real, (internal_load / 7)::real, (internal_load / 28)::real,
	   4 * sign(external_load), 4 * sign(internal_load), 2 * (sign(external_load) - sign(internal_load)))),
       coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), 0),
       coalesce(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms), 0), coalesce(percentile_cont(0.999) WITHIN GROUP (ORDER BY ms), 0),
       coalesce(max(ms), 0)
FROM measured`

// latency is the time from enqueuing to the ACWR, in milliseconds.
type latency struct {
	activities          int
	p50, p99, p999, max float64
}

// arrivals are single activities of many athletes that arrive at a steady rate, one per
// job. Each is too far from the athlete's previous one to be in its windows.
type arrivals struct {
	enqueuer     *jobs.Enqueuer
	pool         *dbpool.Pool
	firstAthlete int
	athletes     int
	batch        int // activities in each transaction
	arrived      int
}

func newArrivals(pool *dbpool.Pool) (*arrivals, error) {
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, jobs.DefaultSchema)
	return &arrivals{enqueuer: enqueuer, pool: pool, firstAthlete: 1, athletes: 1, batch: 1}, err
}

// firstArrival is the lowest id of these activities.
const firstArrival = 5_000_000_000_000

func (a *arrivals) activity(n int) jobs.Activity {
	load, trimp, name := float64(n%80)/8, float64(n%200), "Run"
	return jobs.Activity{
		ActivityID: int64(firstArrival + n), UserID: int32(a.firstAthlete + n%a.athletes), Name: &name, Type: &name, TotalLoadMiles: &load, Trimp: &trimp,
		Date: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, 40*(n/a.athletes)).Format(time.DateOnly),
	}
}

// enqueue enqueues the batch of activities that begins with number n.
func (a *arrivals) enqueue(ctx context.Context, n int) error {
	args := make([]jobs.ActivityIngest, a.batch)
	for i := range args {
		args[i].Activities = []jobs.Activity{a.activity(n + i)}
	}
	_, err := a.enqueuer.Ingest(ctx, jobs.PriorityLive, args...)
	return err
}

// senders is the number of connections that the application enqueues from.
const senders = 4

// measure enqueues rate activities per second for a time, and waits until all results
// are correct.
func (a *arrivals) measure(ctx context.Context, rate int, during time.Duration) (l latency, err error) {
	first, amount := a.arrived, int(during.Seconds()*float64(rate))/a.batch*a.batch
	a.arrived += amount
	started := time.Now()
	errs := make([]error, senders)
	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			for n := sender * a.batch; n < amount && errs[sender] == nil; n += senders * a.batch {
				time.Sleep(time.Until(started.Add(time.Duration(n) * time.Second / time.Duration(rate))))
				errs[sender] = a.enqueue(ctx, first+n)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return l, err
	}
	return a.await(ctx, first)
}

// measureUntil enqueues rate activities per second until done ends, and waits until all
// results are correct.
func (a *arrivals) measureUntil(ctx, done context.Context, rate int) (l latency, err error) {
	first := a.arrived
	for ticker := time.NewTicker(time.Second / time.Duration(rate)); ; {
		if err := a.enqueue(ctx, a.arrived); err != nil {
			return l, err
		}
		a.arrived++
		select {
		case <-done.Done():
			ticker.Stop()
			return a.await(ctx, first)
		case <-ticker.C:
		}
	}
}

// await waits until the results of all arrived activities are correct, and measures
// those from number first on.
func (a *arrivals) await(ctx context.Context, first int) (l latency, err error) {
	for deadline := time.Now().Add(time.Minute); ; {
		err := a.pool.QueryRow(ctx, latencyQuery, firstArrival+first, firstArrival+a.arrived-1).Scan(&l.activities, &l.p50, &l.p99, &l.p999, &l.max)
		if err != nil || l.activities == a.arrived-first {
			return l, err
		}
		if time.Now().After(deadline) {
			return l, fmt.Errorf("of %d activities only %d are correct a minute later", a.arrived-first, l.activities)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
