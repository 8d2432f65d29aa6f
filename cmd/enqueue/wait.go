package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
)

const (
	waitInterval = 200 * time.Millisecond
	// idleNotice is how long nothing may happen before --wait says why.
	idleNotice = 5 * time.Second
)

// waiter polls the queues on behalf of --wait.
type waiter struct {
	pool   *dbpool.Pool
	schema queue.Schema
	io     streams
}

// waitFor waits until the ingest jobs and their recalculations are finished, and adds the
// outcomes of the activities to the result. Ctrl-C ends the wait, not the work.
func waitFor(ctx context.Context, pool *dbpool.Pool, schema string, source *activities, result *ingested, io streams) error {
	ids := result.JobIDs
	w := &waiter{pool: pool, schema: queue.Schema(schema), io: io}
	failed, _, err := w.finished(ctx, "storing activities", ids)
	if err != nil {
		return err
	}
	writing, err := admin.ReadWriting(ctx, pool)
	if err != nil {
		return err
	}
	failedRecalcs := 0
	if writing.Mode != admin.WriteOff { // otherwise no worker works them
		if failedRecalcs, err = w.recalculated(ctx, ids[0]); err != nil {
			return err
		}
	}
	failed += failedRecalcs
	if err := source.outcome(ctx, pool, result); err != nil {
		return err
	}
	rejected := *result.Rejected
	result.FailedJobs = &failed
	if failed > 0 || rejected > 0 {
		if !source.flags.asJSON {
			_, _ = fmt.Fprintln(io.out, result.outcome())
		}
		return fmt.Errorf("%s failed and %s rejected; see the errors in %s.river_job and the table ingest_rejects",
			counted(failed, "job", "jobs"), counted(rejected, "activity was", "activities were"), schema)
	}
	said := "stored, with their results"
	if !writing.ToAllUsers() {
		said = "stored; " + strings.TrimSuffix(writing.Says, ".")
	}
	if source.flags.asJSON {
		return nil
	}
	_, err = fmt.Fprintf(io.out, "%s\n%s\n", said, result.outcome())
	return err
}

// finished waits for jobs, and returns how many of them failed and the last
// error of one that did.
func (w *waiter) finished(ctx context.Context, what string, ids []int64) (failed int, lastError string, err error) {
	var p queue.Progress
	err = w.until(ctx, what, func(ctx context.Context) (left int, err error) {
		p, err = w.schema.Progress(ctx, w.pool, ids)
		return p.Unfinished, err
	})
	return p.Failed, p.LastError, err
}

// recalculated waits for the recalculations that exist now, and returns how
// many of those enqueued since the job after failed. Those that finished ingest
// jobs enqueued are among them.
func (w *waiter) recalculated(ctx context.Context, after int64) (failed int, err error) {
	newest, err := w.schema.NewestOfKind(ctx, w.pool, jobs.KindACWRRecalc)
	if err != nil {
		return 0, err
	}
	var p queue.Progress
	err = w.until(ctx, "computing ACWR", func(ctx context.Context) (left int, err error) {
		p, err = w.schema.KindProgress(ctx, w.pool, jobs.KindACWRRecalc, newest, after)
		return p.Unfinished, err
	})
	return p.Failed, err
}

// until shows progress until nothing is left. What is left at the first check is the
// total.
func (w *waiter) until(ctx context.Context, what string, check func(context.Context) (left int, err error)) error {
	b := &cli.Bar{}
	defer func() { b.Finish() }()
	ticker := time.NewTicker(waitInterval)
	defer ticker.Stop()
	lastLeft, moved, asked := -1, time.Now(), false
	for {
		left, err := check(ctx)
		switch {
		case ctx.Err() != nil:
			return errors.New("no longer waiting; the jobs stay enqueued and are worked all the same")
		case err != nil:
			return fmt.Errorf("wait: %w; the jobs stay enqueued", err)
		case left == 0:
			return nil
		case lastLeft < 0:
			b = cli.NewBar(w.io.err, int64(left), what, "jobs")
			lastLeft = left
		case left != lastLeft:
			lastLeft, moved = left, time.Now()
		case time.Since(moved) > idleNotice && !asked:
			asked = true
			why, err := whyIdle(ctx, w.pool, w.schema, jobs.QueueIngest, jobs.QueueIngestBulk, jobs.QueueRecalc, jobs.QueueRecalcBulk)
			if err != nil {
				return fmt.Errorf("wait: %w; the jobs stay enqueued", err)
			}
			b.Say(why)
		}
		b.Set(b.Total() - int64(left))
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}
