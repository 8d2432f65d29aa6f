package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/jobs"
)

// resultsDigest is the same for two databases with the same results.
const resultsDigest = `
SELECT coalesce(sum(hashtextextended(concat_ws(',', activity_id, seven_day_avg_load, twentyeight_day_avg_load, seven_day_avg_trimp,
	twentyeight_day_avg_trimp, acute_chronic_ratio, trimp_acute_chronic_ratio, normalized_divergence), 0)), 0)::text
FROM activities`

// backfillSuite alternates the statement and the backfill on copies of the same
// data.
func backfillSuite(ctx context.Context, r *rig) error {
	sizes := []int{200, 2000}
	if r.short {
		sizes = []int{20}
	}
	for _, users := range sizes {
		if err := backfillOf(ctx, r, users); err != nil {
			return err
		}
	}
	return nil
}

func backfillOf(ctx context.Context, r *rig, users int) error {
	template, err := r.migrated(ctx)
	if err != nil {
		return err
	}
	rows := float64(users * 1000)
	r.say("backfill: storing %.0f activities", rows)
	if err := (training{users: users, every: 1, first: 1, last: 1000}).store(ctx, r, template); err != nil {
		return err
	}
	var update, first, second []float64
	var memory int64
	right := true
	for round := range r.rounds {
		seconds, want, err := runUpdate(ctx, r, template)
		if err != nil {
			return err
		}
		run, err := runBackfill(ctx, r, template)
		if err != nil {
			return err
		}
		right = right && run.digest == want
		r.say("backfill of %.0f rows, round %d: UPDATE %.1f s, first run %.1f s, second %.1f s", rows, round+1, seconds, run.first, run.second)
		update, first, second = append(update, rows/seconds), append(first, rows/run.first), append(second, rows/run.second)
		memory = max(memory, run.memory)
	}
	name := func(contestant string) string { return fmt.Sprintf("%s_%dk", contestant, users) }
	r.results = append(r.results,
		newResult(name("set_based_update"), update, true, ""),
		newResult(name("backfill_first"), first, right, fmt.Sprintf("%.2f × the time of the UPDATE, worker's memory at most %d MB", median(update)/median(first), memory>>20)),
		newResult(name("backfill_second"), second, right, fmt.Sprintf("%.2f × the time of the UPDATE", median(update)/median(second))),
	)
	return r.drop(ctx, template)
}

func runUpdate(ctx context.Context, r *rig, template string) (seconds float64, digest string, err error) {
	database, err := r.database(ctx, template)
	if err != nil {
		return 0, "", err
	}
	pool, err := r.open(ctx, database)
	if err != nil {
		return 0, "", err
	}
	defer pool.Close()
	started := time.Now()
	if _, err := pool.Exec(ctx, setBasedUpdate); err != nil {
		return 0, "", err
	}
	seconds = time.Since(started).Seconds()
	if err := pool.QueryRow(ctx, resultsDigest).Scan(&digest); err != nil {
		return 0, "", err
	}
	return seconds, digest, r.drop(ctx, database)
}

// backfillRun is two backfills of one database.
type backfillRun struct {
	first, second float64 // seconds
	digest        string
	memory        int64
}

func runBackfill(ctx context.Context, r *rig, template string) (run backfillRun, err error) {
	database, err := r.database(ctx, template)
	if err != nil {
		return run, err
	}
	worker, err := r.startWorker(ctx, database)
	if err != nil {
		return run, err
	}
	pool, err := r.open(ctx, database)
	if err != nil {
		return run, err
	}
	defer pool.Close()
	for _, seconds := range []*float64{&run.first, &run.second} {
		if *seconds, err = backfillOnce(ctx, pool); err != nil {
			return run, err
		}
		if _, err := pool.Exec(ctx, "CHECKPOINT"); err != nil {
			return run, err
		}
	}
	ended, err := worker.end()
	if err != nil {
		return run, err
	}
	run.memory = ended.memory
	if err := pool.QueryRow(ctx, resultsDigest).Scan(&run.digest); err != nil {
		return run, err
	}
	return run, r.drop(ctx, database)
}

// backfillOnce returns the seconds from the creation of a backfill to its end.
func backfillOnce(ctx context.Context, pool *dbpool.Pool) (seconds float64, err error) {
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, jobs.DefaultSchema)
	if err != nil {
		return 0, err
	}
	var id int64
	err = pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = backfill.Create(ctx, tx, enqueuer, backfill.Scope{}, false)
		return err
	})
	if err != nil {
		return 0, err
	}
	for {
		b, err := backfill.Get(ctx, pool, jobs.DefaultSchema, id)
		switch {
		case err != nil:
			return 0, err
		case b.State == backfill.Finished && b.FailedChunks > 0:
			return 0, fmt.Errorf("%d chunks failed", b.FailedChunks)
		case b.State == backfill.Finished:
			return b.EndedAt.Sub(b.CreatedAt).Seconds(), nil
		}
		time.Sleep(100 * time.Millisecond)
	}
}
