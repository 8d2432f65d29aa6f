package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
)

const (
	waitInterval = 200 * time.Millisecond
	// idleNotice is how long --wait goes without progress before it says why.
	idleNotice = 5 * time.Second
)

// waitFor waits until the ingest jobs and their recalculations are finished, and adds the
// outcomes of the activities to the result. Ctrl-C ends the wait, not the work.
func (db *database) waitFor(ctx context.Context, source *activities, result *ingested) error {
	ids := result.JobIDs
	failed, _, err := db.finished(ctx, "storing activities", ids)
	if err != nil {
		return err
	}
	writing, err := admin.ReadWriting(ctx, db.pool)
	if err != nil {
		return err
	}
	if writing.Mode != admin.WriteOff { // otherwise no worker works them
		failedRecalcs, err := db.recalculated(ctx, ids[0])
		if err != nil {
			return err
		}
		failed += failedRecalcs
	}
	if err := source.outcome(ctx, db.pool, result); err != nil {
		return err
	}
	result.FailedJobs = &failed
	failure := failures(failed, *result.Rejected)
	switch {
	case db.JSON:
		return failure
	case failure == nil && writing.ToAllUsers():
		db.Printf("stored, with their results\n")
	case failure == nil:
		db.Printf("stored; %s\n", strings.TrimSuffix(writing.Says, "."))
	}
	db.Printf("%s\n", result.outcome())
	return failure
}

// failures returns an error that says what failed and how to see why; nil if
// nothing failed.
func failures(failedJobs, rejected int) error {
	var faults []error
	if failedJobs > 0 {
		faults = append(faults, fmt.Errorf("%s failed; see: enqueue jobs list --state discarded,cancelled", cli.Counted(failedJobs, "job", "jobs")))
	}
	if rejected > 0 {
		faults = append(faults, fmt.Errorf("%s rejected; see: enqueue rejects list", cli.Counted(rejected, "activity was", "activities were")))
	}
	return errors.Join(faults...)
}

// finished waits for jobs, and returns how many failed and the last error of one of them.
func (db *database) finished(ctx context.Context, what string, ids []int64) (failed int, lastError string, err error) {
	var p queue.Progress
	err = db.until(ctx, what, func(ctx context.Context) (left int, err error) {
		p, err = queue.Schema(db.schema).Progress(ctx, db.pool, ids)
		return p.Unfinished, err
	})
	return p.Failed, p.LastError, err
}

// recalculated waits for the recalculations that exist now, and returns how
// many of those enqueued since the job after failed. They include those that
// finished ingest jobs enqueued.
func (db *database) recalculated(ctx context.Context, after int64) (failed int, err error) {
	newest, err := queue.Schema(db.schema).NewestOfKind(ctx, db.pool, jobs.KindACWRRecalc)
	if err != nil {
		return 0, err
	}
	var p queue.Progress
	err = db.until(ctx, "computing ACWR", func(ctx context.Context) (left int, err error) {
		p, err = queue.Schema(db.schema).KindProgress(ctx, db.pool, jobs.KindACWRRecalc, newest, after)
		return p.Unfinished, err
	})
	return p.Failed, err
}

// until shows progress until nothing is left. The total is the number left at the
// first check.
func (db *database) until(ctx context.Context, what string, check func(context.Context) (left int, err error)) error {
	b := db.NewBar(0, what, "job", "jobs")
	defer b.Finish()
	queues := []string{jobs.QueueIngest, jobs.QueueIngestBulk, jobs.QueueRecalc, jobs.QueueRecalcBulk}
	err := db.poll(ctx, queues, b.Say, func(ctx context.Context) (at int64, over bool, err error) {
		left, err := check(ctx)
		if err != nil {
			return 0, false, err
		}
		if b.Total() == 0 {
			b.Resize(int64(left))
		}
		b.Set(b.Total() - int64(left))
		return int64(left), left == 0, nil
	})
	switch {
	case ctx.Err() != nil:
		return errors.New("no longer waiting; the jobs stay enqueued and are worked all the same")
	case err != nil:
		return fmt.Errorf("wait: %w; the jobs stay enqueued", err)
	}
	return nil
}

// poll calls check repeatedly until it returns over. If nothing changes for
// idleNotice, it calls say once with why the queues are idle.
func (db *database) poll(ctx context.Context, queues []string, say func(why string), check func(context.Context) (at int64, over bool, err error)) error {
	ticker := time.NewTicker(waitInterval)
	defer ticker.Stop()
	last, moved, asked := int64(-1), time.Now(), false
	for {
		at, over, err := check(ctx)
		switch {
		case ctx.Err() != nil || err != nil || over:
			return err
		case at != last:
			last, moved = at, time.Now()
		case time.Since(moved) > idleNotice && !asked:
			asked = true
			why, err := db.whyIdle(ctx, queues...)
			if err != nil {
				return err
			}
			say(why)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}
