package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/jobs"
)

// latencySuite measures the latency of an ACWR at several rates, and beside a backfill.
func latencySuite(ctx context.Context, r *rig) error {
	users, during, rates := 2000, 20*time.Second, []int{100, 500, 1000, 2000, besideBackfill}
	if r.short {
		users, during, rates = 20, time.Second, []int{100, besideBackfill}
	}
	template, err := r.migrated(ctx, r.worker)
	if err != nil {
		return err
	}
	r.say("latency: storing %d activities", users*1000)
	if err := (training{users: users, every: 1, first: 1, last: 1000}).store(ctx, r, template); err != nil {
		return err
	}
	byRate, beside := map[int][]latency{}, []latency{}
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
			id, err := startBackfill(ctx, a)
			if err != nil {
				return err
			}
			l, err := a.measure(ctx, besideBackfill, during)
			if err != nil {
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
		r.addLatency(fmt.Sprintf("latency_at_%d", rate), byRate[rate])
	}
	r.addLatency(fmt.Sprintf("latency_at_%d_beside_backfill", besideBackfill), beside,
		figure{"p99_of_without", "p99 %.2f × that without", medianBy(beside, p99) / medianBy(byRate[besideBackfill], p99)})
	return r.drop(ctx, template)
}

// besideBackfill is the rate at which activities arrive beside a backfill and, for
// comparison, just before it.
const besideBackfill = 200

func startBackfill(ctx context.Context, a *arrivals) (id int64, err error) {
	err = a.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = backfill.Create(ctx, tx, a.enqueuer, backfill.Scope{}, false)
		return err
	})
	return id, err
}

// working runs measure on a copy of template with a running worker.
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
	a, err := newArrivals(pool)
	if err != nil {
		return err
	}
	measureErr := measure(a)
	_, err = worker.end()
	if err := errors.Join(measureErr, err); err != nil {
		return err
	}
	return r.drop(ctx, database)
}

func p50(l latency) float64        { return l.p50 }
func p99(l latency) float64        { return l.p99 }
func p999(l latency) float64       { return l.p999 }
func maxLatency(l latency) float64 { return l.max }

func medianBy(rounds []latency, of func(latency) float64) float64 {
	var values []float64
	for _, l := range rounds {
		values = append(values, of(l))
	}
	return median(values)
}

// percentiles are the medians of the rounds' percentiles.
func percentiles(rounds []latency) []figure {
	return []figure{
		{"p50_ms", "enqueue to ACWR p50 %.1f ms", medianBy(rounds, p50)},
		{"p99_ms", "p99 %.1f ms", medianBy(rounds, p99)},
		{"p999_ms", "p99.9 %.1f ms", medianBy(rounds, p999)},
		{"max_ms", "at most %.1f ms", medianBy(rounds, maxLatency)},
	}
}

// addLatency reports the activities per second that a single sender would achieve if it
// waited for each, and the percentiles.
func (r *rig) addLatency(name string, rounds []latency, more ...figure) {
	var perSecond []float64
	for _, l := range rounds {
		perSecond = append(perSecond, 1000/l.p50)
	}
	r.results = append(r.results, newResult(name, perSecond, true, append(percentiles(rounds), more...)...))
}
