package main

import (
	"context"
	"slices"
	"time"
)

// operationsSuite has the worker do the same work with and without metrics, probes and
// pages.
func operationsSuite(ctx context.Context, r *rig) error {
	t := training{users: 1000, every: 1, first: 1, last: 60}
	if r.short {
		t.users, t.last = 20, 50
	}
	arriving, err := r.arriving(ctx, t, r.worker)
	if err != nil {
		return err
	}
	on, err := r.lane(ctx, arriving, t, 1)
	if err != nil {
		return err
	}
	off, scrapes := on, []float64{}
	off.name = "operations_off"
	off.run = func(ctx context.Context, database string) (outcome, error) {
		return r.workWith(ctx, r.worker, database, r.server.URL(database), nil, "TMWORKER_OPERATIONS_LISTEN=")
	}
	on.name = "operations_on"
	on.run = func(ctx context.Context, database string) (outcome, error) {
		return r.workWith(ctx, r.worker, database, r.server.URL(database), func(ctx context.Context, p *process) {
			scrapes = append(scrapes, scrape(ctx, p)...)
		})
	}
	scores, err := r.compete(ctx, off, on)
	if err != nil {
		return err
	}
	without, with := scores[0], scores[1]
	r.results = append(r.results, without.result(), with.result(
		figure{"x_operations_off", "%.3f × the throughput of off", with.times(without)},
		figure{"processor_of_off", "%.3f × its processor time", with.median(processor) / without.median(processor)},
		figure{"scrape_ms", "a scrape takes %.1f ms", 1000 * median(scrapes)},
		figure{"longest_scrape_ms", "and at most %.1f ms", 1000 * slices.Max(scrapes)}))
	if err := r.drop(ctx, arriving); err != nil {
		return err
	}
	return r.drop(ctx, on.template)
}

// scrapeInterval is shorter than usual, so that there are enough scrapes.
const scrapeInterval = 5 * time.Second

// scrape requests the metrics until ctx ends and returns the seconds of each request.
func scrape(ctx context.Context, p *process) (seconds []float64) {
	for {
		started := time.Now()
		if _, err := p.get(context.WithoutCancel(ctx), "/metrics"); err == nil {
			seconds = append(seconds, time.Since(started).Seconds())
		}
		select {
		case <-ctx.Done():
			return seconds
		case <-time.After(scrapeInterval):
		}
	}
}
