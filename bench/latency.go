package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/jobs"
)

// latencyQuery measures, by the server's clock, from the transaction that
// enqueued an activity to the commit that made its ACWR right: nothing writes
// the row after that. It counts the activities that are right: each is alone in
// its windows.
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
       coalesce(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms), 0), coalesce(percentile_cont(0.999) WITHIN GROUP (ORDER BY ms), 0)
FROM measured`

// latency is milliseconds from enqueue to right ACWR.
type latency struct {
	activities     int
	p50, p99, p999 float64
}

// arrivals are single activities that arrive one job each at a steady rate, of
// many athletes, each activity further from the athlete's last one than any
// window reaches.
type arrivals struct {
	enqueuer *jobs.Enqueuer
	pool     *dbpool.Pool
	athletes int
	arrived  int
}

const firstArrival = 5_000_000_000_000

func (a *arrivals) activity(n int) jobs.Activity {
	load, trimp, name := float64(n%80)/8, float64(n%200), "Run"
	return jobs.Activity{
		ActivityID: int64(firstArrival + n), UserID: int32(n%a.athletes) + 1, Name: &name, Type: &name, TotalLoadMiles: &load, Trimp: &trimp,
		Date: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, 40*(n/a.athletes)).Format(time.DateOnly),
	}
}

// senders is how many connections the application enqueues from.
const senders = 4

// measure enqueues at a rate, a second, for a time, and waits until all is
// right.
func (a *arrivals) measure(ctx context.Context, rate int, during time.Duration) (l latency, err error) {
	first, amount := a.arrived, int(during.Seconds()*float64(rate))
	a.arrived += amount
	started := time.Now()
	errs := make(chan error, senders)
	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			for n := sender; n < amount; n += senders {
				time.Sleep(time.Until(started.Add(time.Duration(n) * time.Second / time.Duration(rate))))
				if _, err := a.enqueuer.Ingest(ctx, jobs.PriorityLive, jobs.ActivityIngest{Activities: []jobs.Activity{a.activity(first + n)}}); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return l, err
	default:
	}
	for deadline := time.Now().Add(time.Minute); ; {
		err := a.pool.QueryRow(ctx, latencyQuery, firstArrival+first, firstArrival+first+amount-1).Scan(&l.activities, &l.p50, &l.p99, &l.p999)
		if err != nil || l.activities == amount {
			return l, err
		}
		if time.Now().After(deadline) {
			return l, fmt.Errorf("of %d activities only %d are right a minute later", amount, l.activities)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// latencySuite measures how late an ACWR is, at several rates, and what a
// backfill beside it does to that.
func latencySuite(ctx context.Context, r *rig) error {
	users, during, rates := 2000, 20*time.Second, []int{100, 500, 1000, 2000}
	if r.short {
		users, during, rates = 20, 2*time.Second, []int{100}
	}
	template, err := r.migrated(ctx)
	if err != nil {
		return err
	}
	r.say("latency: storing %d activities", users*1000)
	if err := r.exec(ctx, template, athletesQuery, users); err != nil {
		return err
	}
	if err := r.exec(ctx, template, `VACUUM ANALYZE activities`); err != nil {
		return err
	}
	byRate, quiet, beside := map[int][]latency{}, []latency{}, []latency{}
	for range r.rounds {
		err := r.working(ctx, template, func(a *arrivals) error {
			a.athletes = users
			for _, rate := range rates {
				l, err := a.measure(ctx, rate, during)
				if err != nil {
					return err
				}
				byRate[rate] = append(byRate[rate], l)
			}
			l, err := a.measure(ctx, besideBackfill, during)
			if err != nil {
				return err
			}
			quiet = append(quiet, l)
			id, err := startBackfill(ctx, a)
			if err != nil {
				return err
			}
			if l, err = a.measure(ctx, besideBackfill, during); err != nil {
				return err
			}
			beside = append(beside, l)
			b, err := backfill.Get(ctx, a.pool, jobs.DefaultSchema, id)
			if err == nil && b.State == backfill.Finished && !r.short {
				err = fmt.Errorf("the backfill was over before the measurement")
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, rate := range rates {
		r.addLatency(fmt.Sprintf("latency_at_%d", rate), byRate[rate], "")
	}
	r.addLatency(fmt.Sprintf("latency_at_%d", besideBackfill), quiet, "")
	ratio := medianOf(beside, p99) / medianOf(quiet, p99)
	r.addLatency(fmt.Sprintf("latency_at_%d_beside_backfill", besideBackfill), beside, fmt.Sprintf("; p99 %.2f × that without", ratio))
	return r.drop(ctx, template)
}

// besideBackfill is the rate at which activities arrive beside a backfill.
const besideBackfill = 200

func startBackfill(ctx context.Context, a *arrivals) (id int64, err error) {
	err = a.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = backfill.Create(ctx, tx, a.enqueuer, backfill.Scope{}, false)
		return err
	})
	return id, err
}

// working runs measure on a copy of template with a worker on it.
func (r *rig) working(ctx context.Context, template string, measure func(*arrivals) error) error {
	database, err := r.database(ctx, template)
	if err != nil {
		return err
	}
	worker, err := r.startWorker(ctx, database)
	if err != nil {
		return err
	}
	pool, err := r.open(ctx, database)
	if err != nil {
		return err
	}
	defer pool.Close()
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, jobs.DefaultSchema)
	if err != nil {
		return err
	}
	measureErr := measure(&arrivals{enqueuer: enqueuer, pool: pool})
	_, err = worker.end()
	if err := errors.Join(measureErr, err); err != nil {
		return err
	}
	return r.drop(ctx, database)
}

func p50(l latency) float64  { return l.p50 }
func p99(l latency) float64  { return l.p99 }
func p999(l latency) float64 { return l.p999 }

func medianOf(rounds []latency, of func(latency) float64) float64 {
	var values []float64
	for _, l := range rounds {
		values = append(values, of(l))
	}
	return median(values)
}

// addLatency reports the activities a second that one sender would get through
// if it waited for each, and the percentiles in the note.
func (r *rig) addLatency(name string, rounds []latency, remark string) {
	var perSecond []float64
	for _, l := range rounds {
		perSecond = append(perSecond, 1000/l.p50)
	}
	r.results = append(r.results, newResult(name, perSecond, true, fmt.Sprintf("enqueue to right ACWR p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms%s",
		medianOf(rounds, p50), medianOf(rounds, p99), medianOf(rounds, p999), remark)))
}
