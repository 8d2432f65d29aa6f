package main

import (
	"context"
	"fmt"
)

// growthSuite has the worker do the same work on tables of very different sizes: a
// thousand users' activities arrive, one per job, after a history of a hundred days, of
// a thousand, or of a thousand beside nine thousand other users'.
func growthSuite(ctx context.Context, r *rig) error {
	arriving := training{users: 1000, every: 10, first: 1001, last: 1060}
	histories := []training{
		{users: 1000, every: 10, first: 901, last: 1000},
		{users: 1000, every: 10, first: 1, last: 1000},
		{users: 10000, every: 1, first: 1, last: 1000},
	}
	if r.short {
		arriving.users, arriving.last = 20, 1020
		histories = []training{{users: 20, every: 10, first: 951, last: 1000}, {users: 200, every: 1, first: 951, last: 1000}}
	}
	var contestants []contestant
	for _, history := range histories {
		template, err := r.migrated(ctx, r.worker)
		if err != nil {
			return err
		}
		r.say("growth: storing %d activities", history.amount())
		if err := history.store(ctx, r, template); err != nil {
			return err
		}
		if err := arriving.arrive(ctx, r, template); err != nil {
			return err
		}
		if err := arriving.enqueue(ctx, r, template, 1); err != nil {
			return err
		}
		contestants = append(contestants, contestant{
			name: fmt.Sprintf("growth_%d", history.amount()), template: template, amount: arriving.amount(), check: arriving.check(history.amount()),
			run: func(ctx context.Context, database string) (outcome, error) {
				return r.work(ctx, database, r.server.URL(database))
			},
		})
	}
	scores, err := r.compete(ctx, contestants...)
	if err != nil {
		return err
	}
	for _, s := range scores {
		r.results = append(r.results, s.result(s.ofTimes(scores[0])))
	}
	return r.dropTemplates(ctx, contestants)
}
