package backfill

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
)

// lockBackfillQuery waits for the chunks under way and keeps others from
// starting until the state is changed.
const lockBackfillQuery = `
-- name: backfill_lock
SELECT state, planned FROM acwr_backfills WHERE id = $1 FOR UPDATE`

const setStateQuery = `
-- name: backfill_set_state
UPDATE acwr_backfills SET state = $2, ended_at = CASE WHEN $2 = 'cancelled' THEN clock_timestamp() END WHERE id = $1`

// ErrCancelled is returned when a cancelled backfill is paused or resumed.
var ErrCancelled = errors.New("it was cancelled; start another one")

// Pause stops a backfill after the chunks under way. The jobs of the other chunks do
// nothing.
func Pause(ctx context.Context, tx pgx.Tx, id int64) error { return setState(ctx, tx, id, Paused) }

// Cancel ends a backfill after the chunks under way. The results of finished chunks stay.
func Cancel(ctx context.Context, tx pgx.Tx, id int64) error { return setState(ctx, tx, id, Cancelled) }

func setState(ctx context.Context, tx pgx.Tx, id int64, state string) error {
	if _, err := lock(ctx, tx, id); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, setStateQuery, id, state); err != nil {
		return fmt.Errorf("backfill %d: %w", id, err)
	}
	return nil
}

func lock(ctx context.Context, tx pgx.Tx, id int64) (planned bool, err error) {
	var state string
	switch err := tx.QueryRow(ctx, lockBackfillQuery, id).Scan(&state, &planned); {
	case errors.Is(err, pgx.ErrNoRows):
		return false, fmt.Errorf("backfill %d: %w", id, ErrNotFound)
	case err != nil:
		return false, fmt.Errorf("backfill %d: %w", id, err)
	case state == Cancelled:
		return false, fmt.Errorf("backfill %d: %w", id, ErrCancelled)
	}
	return planned, nil
}

// reviveQuery makes failed chunks pending again and returns every pending chunk
// without an unfinished job.
const reviveQuery = `
-- name: backfill_revive
WITH revived AS (
	UPDATE acwr_backfill_chunks SET state = 'pending', error = NULL, finished_at = NULL
	WHERE backfill_id = $1 AND state = 'failed'
	RETURNING number
)
SELECT number FROM revived
UNION
SELECT c.number FROM acwr_backfill_chunks AS c
WHERE c.backfill_id = $1 AND c.state = 'pending' AND NOT {unfinished}
ORDER BY 1`

// planIsUnfinishedQuery reports whether the planning job of a backfill is unfinished.
const planIsUnfinishedQuery = `
-- name: backfill_plan_is_unfinished
SELECT {unfinished} FROM acwr_backfills AS b WHERE id = $1`

// Resume continues a paused backfill and retries failed chunks.
func Resume(ctx context.Context, tx pgx.Tx, enqueuer *jobs.Enqueuer, riverSchema string, id int64) error {
	planned, err := lock(ctx, tx, id)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, setStateQuery, id, Running); err != nil {
		return fmt.Errorf("backfill %d: %w", id, err)
	}
	river := queue.Schema(riverSchema)
	revive := strings.Replace(reviveQuery, "{unfinished}", river.Unfinished("c.job_id"), 1)
	numbers, err := dbpool.Collect(ctx, tx, fmt.Sprintf("backfill %d", id), pgx.RowTo[int32], revive, id)
	if err != nil {
		return err
	}
	if err := enqueueChunks(ctx, tx, enqueuer, id, numbers); err != nil || planned {
		return err
	}
	var planning bool
	query := strings.Replace(planIsUnfinishedQuery, "{unfinished}", river.Unfinished("b.plan_job_id"), 1)
	if err := tx.QueryRow(ctx, query, id).Scan(&planning); err != nil || planning {
		return err
	}
	return enqueuePlanning(ctx, tx, enqueuer, id)
}
