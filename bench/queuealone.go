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
	"github.com/trainingmonkey/worker/workers"
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
	options := workers.LiveOptions(config.Default(), nil)
	kind := groupcommit.Kind[plainArgs]{
		Weigh: func(job *river.Job[plainArgs]) int { return len(job.Args.Activities) },
		Apply: func(context.Context, pgx.Tx, []*river.Job[plainArgs]) error { return nil },
	}
	return r.workPlain(ctx, database, 2*options.MaxBatch*options.Committers, func(pool *dbpool.Pool) river.Worker[plainArgs] {
		return &idleWorker{engine: groupcommit.New(pool, options, kind)}
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
