package main

import (
	"context"
	"fmt"

	"github.com/trainingmonkey/worker/jobs"
)

// scalingSuite has one or several workers empty the same queue: of few athletes, for whose
// locks they compete, and of many. All workers are ready before the queue is resumed.
func scalingSuite(ctx context.Context, r *rig) error {
	if err := r.buildEnqueuer(ctx); err != nil {
		return err
	}
	trainings, counts := []training{{users: 200, every: 1, first: 1, last: 500}, {users: 20_000, every: 1, first: 1, last: 5}}, []int{1, 2, 4, 8}
	if r.short {
		trainings, counts = []training{{users: 20, every: 1, first: 1, last: 100}, {users: 2000, every: 1, first: 1, last: 1}}, []int{1, 8}
	}
	for _, t := range trainings {
		template, err := r.paused(ctx, t)
		if err != nil {
			return err
		}
		var contestants []contestant
		for _, workers := range counts {
			contestants = append(contestants, contestant{
				name: fmt.Sprintf("scaling_%d_users_%d_workers", t.users, workers), template: template, amount: t.amount(), check: t.check(0),
				run: func(ctx context.Context, database string) (outcome, error) { return r.workMany(ctx, database, workers) },
			})
		}
		scores, err := r.compete(ctx, contestants...)
		if err != nil {
			return err
		}
		for _, s := range scores {
			r.results = append(r.results, s.result(figure{"x_one_worker", "%.2f × one worker", s.times(scores[0])},
				figure{"peak_rss_mb", "a worker's memory at most %.0f MB", s.memory()}))
		}
		if err := r.drop(ctx, template); err != nil {
			return err
		}
	}
	return nil
}

// paused returns a new database with the arriving activities of a training in a paused
// queue. A queue can be paused once a worker has served it.
func (r *rig) paused(ctx context.Context, t training) (name string, err error) {
	if name, err = r.arriving(ctx, t, r.worker); err != nil {
		return "", err
	}
	worker, err := r.startWorker(ctx, name)
	if err != nil {
		return "", err
	}
	if _, err := worker.end(); err != nil {
		return "", err
	}
	if _, err := r.operate(ctx, name, "queues", "pause", jobs.QueueIngest); err != nil {
		return "", err
	}
	return name, t.enqueue(ctx, r, name, 1)
}

func (r *rig) workMany(ctx context.Context, database string, count int) (o outcome, err error) {
	workers := make([]*process, count)
	for i := range workers {
		if workers[i], err = r.startWorker(ctx, database); err != nil {
			return o, err
		}
	}
	if _, err := r.operate(ctx, database, "queues", "resume", jobs.QueueIngest); err != nil {
		return o, err
	}
	return r.drain(ctx, database, nil, workers...)
}
