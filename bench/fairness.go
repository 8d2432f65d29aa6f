package main

import (
	"context"
)

// fairnessSuite fills the queue with one athlete's live jobs, and measures the latency
// of another athlete's jobs, which arrive one by one meanwhile.
func fairnessSuite(ctx context.Context, r *rig) error {
	t, rate := training{users: 1, every: 1, first: 1, last: 100_000}, 1
	if r.short {
		t.last, rate = 4000, 10
	}
	template, err := r.arriving(ctx, t, r.worker)
	if err != nil {
		return err
	}
	if err := t.enqueue(ctx, r, template, 1); err != nil {
		return err
	}
	var others []latency
	scores, err := r.compete(ctx, contestant{
		name: "fairness", template: template, amount: t.amount(), check: t.check(0),
		run: func(ctx context.Context, database string) (outcome, error) {
			o, l, err := r.workBeside(ctx, database, rate)
			others = append(others, l)
			return o, err
		},
	})
	if err != nil {
		return err
	}
	r.results = append(r.results, scores[0].result(percentiles(others)...))
	return r.drop(ctx, template)
}
