package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/groupcommit"
	"github.com/trainingmonkey/worker/jobs"
)

// idleWorker commits jobs in groups, as the worker does, and does nothing.
type idleWorker struct {
	river.WorkerDefaults[plainArgs]
	engine *groupcommit.Engine[plainArgs]
}

// Work implements river.Worker.
func (w *idleWorker) Work(ctx context.Context, job *river.Job[plainArgs]) error {
	if err := w.engine.Work(ctx, job); err != nil {
		return err
	}
	return groupcommit.Committed
}

// Middleware implements river.Worker.
func (w *idleWorker) Middleware(*rivertype.JobRow) []rivertype.WorkerMiddleware {
	return []rivertype.WorkerMiddleware{w.engine.Middleware()}
}

// queueAlone is what the queue lets through at all: the jobs of plain River,
// fetched, decoded and completed as the worker does it.
func (r *rig) queueAlone(ctx context.Context, database string) (outcome, error) {
	batching := config.Default().Batching
	return r.workPlain(ctx, database, 2*batching.MaxJobs*batching.Committers, func(pool *dbpool.Pool) river.Worker[plainArgs] {
		return &idleWorker{engine: groupcommit.New(pool, groupcommit.Options{
			RiverSchema: jobs.DefaultSchema, MaxBatch: batching.MaxJobs, MaxWeight: batching.MaxActivities, Committers: batching.Committers,
			Linger: batching.Linger, FlushTimeout: batching.FlushTimeout, RetryFor: batching.RetryFor, SnoozeFor: batching.SnoozeFor,
			RolloutPercent: batching.RolloutPercent,
			Breaker: groupcommit.BreakerOptions{
				Threshold: float64(batching.BreakerPercent) / 100, Window: batching.BreakerWindow, Cooldown: batching.BreakerCooldown,
			},
		}, groupcommit.Kind[plainArgs]{
			Weigh: func(job *river.Job[plainArgs]) int { return len(job.Args.Activities) },
			Apply: func(context.Context, pgx.Tx, []*river.Job[plainArgs]) error { return nil },
		})}
	})
}

// checkCompleted checks that every job was completed, and at its first attempt.
func checkCompleted(want int) func(ctx context.Context, pool *dbpool.Pool) (fault string, err error) {
	return func(ctx context.Context, pool *dbpool.Pool) (fault string, err error) {
		var completed int
		err = pool.QueryRow(ctx, `SELECT count(*) FROM river.river_job WHERE state = 'completed' AND attempt = 1`).Scan(&completed)
		if err == nil && completed != want {
			fault = fmt.Sprintf("%d of %d jobs were completed at once", completed, want)
		}
		return fault, err
	}
}
