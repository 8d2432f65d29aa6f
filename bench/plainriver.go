package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
)

// plainQueue is both the queue and the kind of plain River's jobs; no worker of ours
// fetches from it.
const plainQueue = "plain"

// plainArgs is an ingest job of that kind.
type plainArgs struct{ jobs.ActivityIngest }

// Kind implements river.JobArgs.
func (plainArgs) Kind() string { return plainQueue }

// enqueuePlain enqueues one job for each arriving activity.
func enqueuePlain(ctx context.Context, r *rig, database string, t training) error {
	err := r.exec(ctx, database, `
INSERT INTO river.river_job (kind, queue, args, max_attempts)
SELECT '`+plainQueue+`', '`+plainQueue+`', jsonb_build_object('activities', activities), 25 FROM (`+jobsOfArriving+`) AS job`, t.first, 1)
	if err != nil {
		return err
	}
	return r.exec(ctx, database, `VACUUM ANALYZE river.river_job`)
}

// plainWorker stores one activity and recalculates the results that depend on it, in
// one transaction and one round trip per job. River completes the jobs itself, many at
// a time, which is twice as fast as river.JobCompleteTx in the same transaction.
type plainWorker struct {
	river.WorkerDefaults[plainArgs]
	pool *dbpool.Pool
}

// lockUser serializes the jobs of a user.
const lockUser = `SELECT pg_advisory_xact_lock($1)`

// Work implements river.Worker.
func (w *plainWorker) Work(ctx context.Context, job *river.Job[plainArgs]) error {
	batch := &pgx.Batch{}
	for i := range job.Args.Activities {
		a := &job.Args.Activities[i]
		batch.Queue(lockUser, a.UserID)
		batch.Queue(upsertOne, upsertOneArgs(a)...)
		batch.Queue(updateAround, a.UserID, a.Date)
	}
	return w.pool.SendBatch(ctx, batch).Close()
}

// plainRiver works the queue with unmodified River: a transaction per job, at the
// concurrency at which it is fastest.
func (r *rig) plainRiver(ctx context.Context, database string) (outcome, error) {
	return r.workPlain(ctx, database, 200, func(pool *dbpool.Pool) river.Worker[plainArgs] { return &plainWorker{pool: pool} })
}

// workPlain works plain River's queue, atOnce jobs at a time, with plans that suit the
// tables once they have grown.
func (r *rig) workPlain(ctx context.Context, database string, atOnce int, worker func(*dbpool.Pool) river.Worker[plainArgs]) (o outcome, err error) {
	pool, err := dbpool.Open(ctx, dbpool.Options{
		URL: r.server.URL(database) + "&enable_seqscan=off", ApplicationName: "plain River", MaxConns: 24,
		ConnectTimeout: 10 * time.Second, AcquireTimeout: time.Minute, StatementTimeout: time.Minute,
		LockTimeout: time.Minute, IdleInTransactionTimeout: time.Minute,
	})
	if err != nil {
		return o, err
	}
	defer pool.Close()
	registered := river.NewWorkers()
	river.AddWorker(registered, worker(pool))
	client, err := river.NewClient(riverpgxv5.New(pool.Pool), &river.Config{
		Schema: jobs.DefaultSchema, Workers: registered, Logger: slog.New(slog.DiscardHandler),
		Queues:        map[string]river.QueueConfig{plainQueue: {MaxWorkers: atOnce}},
		FetchCooldown: 5 * time.Millisecond,
	})
	if err != nil {
		return o, err
	}
	if err := client.Start(ctx); err != nil {
		return o, err
	}
	for done := false; !done; time.Sleep(100 * time.Millisecond) {
		if err := pool.QueryRow(ctx, queuesEmpty).Scan(&done); err != nil {
			return o, err
		}
	}
	if err := client.Stop(ctx); err != nil {
		return o, err
	}
	return o, pool.QueryRow(ctx, drainTimeQuery).Scan(&o.seconds)
}
