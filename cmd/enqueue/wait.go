package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/jobs"
)

const (
	waitInterval = 200 * time.Millisecond
	// lonely is how long nothing may happen before --wait asks for a worker.
	lonely = 5 * time.Second
)

// ingestProgressQuery counts what became of the jobs. A job that is gone was
// completed and then cleaned up.
const ingestProgressQuery = `
SELECT count(*) FILTER (WHERE state NOT IN ('completed', 'discarded', 'cancelled')),
       count(*) FILTER (WHERE state IN ('discarded', 'cancelled')),
       (SELECT count(*) FROM ingest_rejects WHERE job_id = ANY($1))
FROM {schema}.river_job
WHERE id = ANY($1)`

// newestRecalcQuery finds the last recalculation enqueued so far; those of the
// ingest jobs that are finished are not younger.
const newestRecalcQuery = `SELECT coalesce(max(id), 0) FROM {schema}.river_job WHERE kind = '` + jobs.KindACWRRecalc + `'`

// recalcProgressQuery counts the recalculations up to that one.
const recalcProgressQuery = `
SELECT count(*) FILTER (WHERE state NOT IN ('completed', 'discarded', 'cancelled')),
       count(*) FILTER (WHERE state IN ('discarded', 'cancelled') AND id > $2)
FROM {schema}.river_job
WHERE kind = '` + jobs.KindACWRRecalc + `' AND id <= $1`

// waiter polls the queues on behalf of --wait.
type waiter struct {
	pool   *dbpool.Pool
	schema string
	io     streams
}

// waitFor waits until the ingest jobs are finished and what they recalculate is
// right. Ctrl-C ends the waiting, not the work.
func waitFor(ctx context.Context, pool *dbpool.Pool, schema string, ids []int64, io streams) error {
	w := &waiter{pool: pool, schema: schema, io: io}
	var failed, rejected int
	err := w.until(ctx, "storing activities", func(ctx context.Context) (left int, err error) {
		err = w.row(ctx, ingestProgressQuery, ids).Scan(&left, &failed, &rejected)
		return left, err
	})
	if err != nil {
		return err
	}
	unfinished, err := w.recalculated(ctx, ids[0])
	if err != nil {
		return err
	}
	if failed += unfinished; failed > 0 || rejected > 0 {
		return fmt.Errorf("%s failed and %s rejected; see the errors in %s.river_job and the table ingest_rejects",
			counted(failed, "job", "jobs"), counted(rejected, "activity was", "activities were"), schema)
	}
	_, err = fmt.Fprintln(io.out, "stored, and every ACWR is right")
	return err
}

// recalculated waits for the recalculations that exist now, and returns how
// many of those enqueued since the job after failed.
func (w *waiter) recalculated(ctx context.Context, after int64) (failed int, err error) {
	var newest int64
	if err := w.row(ctx, newestRecalcQuery).Scan(&newest); err != nil {
		return 0, err
	}
	err = w.until(ctx, "computing ACWR", func(ctx context.Context) (left int, err error) {
		err = w.row(ctx, recalcProgressQuery, newest, after).Scan(&left, &failed)
		return left, err
	})
	return failed, err
}

func (w *waiter) row(ctx context.Context, query string, args ...any) pgx.Row {
	return w.pool.QueryRow(ctx, strings.ReplaceAll(query, "{schema}", pgx.Identifier{w.schema}.Sanitize()), args...)
}

// until shows progress until nothing is left. What is left at the first look is
// all there is to do.
func (w *waiter) until(ctx context.Context, what string, look func(context.Context) (left int, err error)) error {
	b := &cli.Bar{}
	defer func() { b.Finish() }()
	ticker := time.NewTicker(waitInterval)
	defer ticker.Stop()
	lastLeft, moved, asked := -1, time.Now(), false
	for {
		left, err := look(ctx)
		switch {
		case ctx.Err() != nil:
			return errors.New("no longer waiting; the jobs stay enqueued and are worked all the same")
		case err != nil:
			return fmt.Errorf("wait: %w; the jobs stay enqueued", err)
		case left == 0:
			return nil
		case lastLeft < 0:
			b = cli.NewBar(w.io.err, int64(left), what)
			lastLeft = left
		case left != lastLeft:
			lastLeft, moved = left, time.Now()
		case time.Since(moved) > lonely && !asked:
			asked = true
			b.Say("nothing happens; is a worker running? start one with: worker run")
		}
		b.Set(b.Total() - int64(left))
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}
