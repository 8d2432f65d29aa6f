package main

import (
	"context"
	"time"
)

// adminCommands are what operators run and open while a queue is worked.
var adminCommands = []struct {
	name string
	run  func(ctx context.Context, r *rig, database string, worker *process) (seconds float64, err error)
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

// commandRounds is how often each command is measured in a run.
const commandRounds = 3

// measureCommands adds the duration of each command to those of its name.
func (r *rig) measureCommands(ctx context.Context, database string, worker *process, durations map[string][]float64) error {
	for range commandRounds {
		for _, c := range adminCommands {
			seconds, err := c.run(ctx, r, database, worker)
			if err != nil {
				return err
			}
			durations[c.name] = append(durations[c.name], seconds)
		}
	}
	return nil
}

func timed(ctx context.Context, worker *process, path string) (seconds float64, err error) {
	started := time.Now()
	_, err = worker.get(ctx, path)
	return time.Since(started).Seconds(), err
}
