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

// athletesQuery stores a thousand activities for each of so many users, on
// somewhat more days, without any ACWR: in the order in which athletes train,
// so that a user's rows lie all over the table.
const athletesQuery = `
INSERT INTO activities (activity_id, user_id, date, name, type, sport_type, distance_miles, total_load_miles, trimp, duration_minutes)
SELECT d * 1000000::bigint + u, u, date '2020-01-01' + (d * 5 + u % 3) / 4, 'Morning Run', 'Run', 'running',
       (u * 7 + d * 13) % 80 / 8.0, (u * 7 + d * 13) % 80 / 8.0, (u * 3 + d * 29) % 200, 30 + d % 60
FROM generate_series(1, 1000) AS d, generate_series(1, $1::int) AS u`

// setBasedUpdate is the best single statement: every value of every row by
// window functions over the days, written at once.
const setBasedUpdate = `
WITH days AS (
	SELECT user_id, date, sum(total_load_miles::float8) AS load, sum(trimp::float8) AS trimp
	FROM activities GROUP BY user_id, date
), sums AS (
	SELECT user_id, date,
	       sum(load) OVER week / 7 AS load7, sum(load) OVER month / 28 AS load28,
	       sum(trimp) OVER week / 7 AS trimp7, sum(trimp) OVER month / 28 AS trimp28
	FROM days
	WINDOW week AS (PARTITION BY user_id ORDER BY date RANGE BETWEEN interval '6 days' PRECEDING AND CURRENT ROW),
	       month AS (PARTITION BY user_id ORDER BY date RANGE BETWEEN interval '27 days' PRECEDING AND CURRENT ROW)
), ratios AS (
	SELECT *, CASE WHEN load28 = 0 THEN 0 ELSE load7 / load28 END AS external, CASE WHEN trimp28 = 0 THEN 0 ELSE trimp7 / trimp28 END AS internal
	FROM sums
)
UPDATE activities AS a
SET seven_day_avg_load = load7, twentyeight_day_avg_load = load28, seven_day_avg_trimp = trimp7, twentyeight_day_avg_trimp = trimp28,
    acute_chronic_ratio = external, trimp_acute_chronic_ratio = internal,
    normalized_divergence = CASE WHEN external = 0 AND internal = 0 THEN 0 ELSE (external - internal) / ((external + internal) / 2) END
FROM ratios AS r
WHERE a.user_id = r.user_id AND a.date = r.date`

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
	if err := r.exec(ctx, template, athletesQuery, users); err != nil {
		return err
	}
	if err := r.exec(ctx, template, `VACUUM ANALYZE activities`); err != nil {
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
	if run.memory, err = worker.end(); err != nil {
		return run, err
	}
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
