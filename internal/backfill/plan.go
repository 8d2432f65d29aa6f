package backfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/jobs"
)

// usersPerPlanning is how many users one planning transaction covers. It reads
// their entries of one index.
const usersPerPlanning = 1000

// reachOfPlanning is how many days around a backfill's dates count in the estimate of
// rows that balances the chunks.
const reachOfPlanning = 27

// lockPlanQuery lets one planning job run at a time, and none if the backfill is not
// running.
const lockPlanQuery = `
-- name: backfill_lock_plan
SELECT users, planned_through, from_date, to_date,
       coalesce((SELECT max(number) FROM acwr_backfill_chunks WHERE backfill_id = id), 0)
FROM acwr_backfills
WHERE id = $1 AND state = 'running' AND NOT planned
FOR UPDATE`

// planQuery puts the next users, in order, into chunks of about as many rows. Because it
// groups in the order of the (user_id, date) index, it stops reading after the last user
// that it needs. It runs unprepared, because the plan depends on whether there is a list
// of users.
const planQuery = `
-- name: backfill_plan
WITH counted AS MATERIALIZED (
	SELECT user_id, count(*) AS rows
	FROM activities
	WHERE user_id > $2 AND ($3::int[] IS NULL OR user_id = ANY($3))
	  AND date BETWEEN coalesce($4::date, '-infinity') AND coalesce($5::date, 'infinity')
	GROUP BY user_id
	ORDER BY user_id
	LIMIT $6
), placed AS (
	SELECT user_id, rows, ((sum(rows) OVER (ORDER BY user_id) - rows) / $7)::bigint AS place
	FROM counted
), chunked AS (
	SELECT $8 + row_number() OVER (ORDER BY place) AS number, array_agg(user_id ORDER BY user_id) AS users, sum(rows) AS rows
	FROM placed
	GROUP BY place
), inserted AS (
	INSERT INTO acwr_backfill_chunks (backfill_id, number, users, rows)
	SELECT $1, number, users, rows FROM chunked
	RETURNING number
)
SELECT coalesce((SELECT array_agg(number ORDER BY number) FROM inserted), '{}'),
       coalesce((SELECT max(user_id) FROM counted), 0),
       (SELECT count(*) FROM counted)`

const advancePlanQuery = `
-- name: backfill_advance_plan
UPDATE acwr_backfills SET planned_through = $2, planned = $3 WHERE id = $1`

const setChunkJobsQuery = `
-- name: backfill_set_chunk_jobs
UPDATE acwr_backfill_chunks AS c SET job_id = new.job_id
FROM unnest($2::int[], $3::bigint[]) AS new (number, job_id)
WHERE c.backfill_id = $1 AND c.number = new.number`

// Plan creates the next chunks of a backfill and their jobs, and the next planning job if
// users remain. It does nothing for a backfill that is not running or is planned already.
func Plan(ctx context.Context, tx pgx.Tx, enqueuer *jobs.Enqueuer, id int64, chunkRows int) error {
	var users []int32
	var after, lastChunk int32
	var from, to *time.Time
	err := tx.QueryRow(ctx, lockPlanQuery, id).Scan(&users, &after, &from, &to, &lastChunk)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("lock backfill %d: %w", id, err)
	}
	if from != nil {
		*from = from.AddDate(0, 0, -reachOfPlanning)
	}
	if to != nil {
		*to = to.AddDate(0, 0, reachOfPlanning)
	}
	var numbers []int32
	var through int32
	var read int
	err = tx.QueryRow(ctx, planQuery, pgx.QueryExecModeExec, id, after, users, from, to, usersPerPlanning, chunkRows, lastChunk).Scan(&numbers, &through, &read)
	if err != nil {
		return fmt.Errorf("plan backfill %d: %w", id, err)
	}
	planned := read < usersPerPlanning
	if _, err := tx.Exec(ctx, advancePlanQuery, id, max(through, after), planned); err != nil {
		return fmt.Errorf("plan backfill %d: %w", id, err)
	}
	if err := enqueueChunks(ctx, tx, enqueuer, id, numbers); err != nil {
		return err
	}
	if planned {
		return nil
	}
	return enqueuePlanning(ctx, tx, enqueuer, id)
}

func enqueueChunks(ctx context.Context, tx pgx.Tx, enqueuer *jobs.Enqueuer, id int64, numbers []int32) error {
	if len(numbers) == 0 {
		return nil
	}
	args := make([]jobs.ACWRBackfill, len(numbers))
	for i, number := range numbers {
		args[i] = jobs.ACWRBackfill{BackfillID: id, Chunk: number}
	}
	jobIDs, err := enqueuer.BackfillTx(ctx, tx, args...)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, setChunkJobsQuery, id, numbers, jobIDs)
	return err
}
