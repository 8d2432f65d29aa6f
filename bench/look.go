package main

import (
	"context"
	"time"
)

// looked is what operators look at, and how.
var looked = []struct {
	name string
	look func(ctx context.Context, r *rig, database string, worker *process) (seconds float64, err error)
}{
	{"enqueue_status", func(ctx context.Context, r *rig, database string, _ *process) (float64, error) {
		return r.operate(ctx, database, "status")
	}},
	{"enqueue_jobs_list", func(ctx context.Context, r *rig, database string, _ *process) (float64, error) {
		return r.operate(ctx, database, "jobs", "list")
	}},
	{"page", func(ctx context.Context, _ *rig, _ string, worker *process) (float64, error) {
		return timed(ctx, worker, "/")
	}},
	{"metrics", func(ctx context.Context, _ *rig, _ string, worker *process) (float64, error) {
		return timed(ctx, worker, "/metrics")
	}},
}

// looksEach is how often each is looked at in a run.
const looksEach = 3

// look adds what each look takes to those of its name.
func (r *rig) look(ctx context.Context, database string, worker *process, looks map[string][]float64) error {
	for range looksEach {
		for _, l := range looked {
			seconds, err := l.look(ctx, r, database, worker)
			if err != nil {
				return err
			}
			looks[l.name] = append(looks[l.name], seconds)
		}
	}
	return nil
}

func timed(ctx context.Context, worker *process, path string) (seconds float64, err error) {
	started := time.Now()
	_, err = worker.get(ctx, path)
	return time.Since(started).Seconds(), err
}
