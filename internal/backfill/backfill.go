// Package backfill tracks ACWR backfills: their scope, chunks and progress. It does not
// know how a chunk's values are computed.
//
// Rule: a chunk's progress changes only in the transaction that does its work, and never
// backwards. The operator decides whether a backfill runs; a chunk reads that state under
// the lock under which it is changed.
package backfill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/jobs"
)

// Scope is what a backfill recalculates. A nil date is no bound; without users it covers
// all users.
type Scope struct {
	Users    []int32
	From, To *time.Time // dates whose activities changed, as for acwr_recalc
}

// RunningError is returned by Create when a backfill of the same scope is not finished.
type RunningError struct{ ID int64 }

// Error implements error.
func (e *RunningError) Error() string {
	return fmt.Sprintf("backfill %d of the same scope is not finished", e.ID)
}

// ErrNotFound is returned for the id of a backfill that does not exist.
var ErrNotFound = errors.New("no such backfill")

// oneCreatorQuery lets one process at a time search for a backfill of the same
// scope and then create its own.
const oneCreatorQuery = `
-- name: backfill_one_creator
SELECT pg_advisory_xact_lock(hashtextextended('trainingmonkey create backfill', 0))`

// sameScopeQuery finds an unfinished backfill of the same scope.
const sameScopeQuery = `
-- name: backfill_same_scope
SELECT id FROM acwr_backfills AS b
WHERE b.state <> 'cancelled' AND b.users IS NOT DISTINCT FROM $1::int[]
  AND b.from_date IS NOT DISTINCT FROM $2::date AND b.to_date IS NOT DISTINCT FROM $3::date
  AND (NOT b.planned OR EXISTS (SELECT FROM acwr_backfill_chunks AS c WHERE c.backfill_id = b.id AND c.state = 'pending'))
ORDER BY id
LIMIT 1`

const createQuery = `
-- name: backfill_create
INSERT INTO acwr_backfills (users, from_date, to_date) VALUES ($1, $2, $3) RETURNING id`

const setPlanJobQuery = `
-- name: backfill_set_plan_job
UPDATE acwr_backfills SET plan_job_id = $2 WHERE id = $1`

// Create starts a backfill and returns its id. It only writes a few rows, because a job
// does the planning. If an unfinished backfill has the same scope, it returns a
// *RunningError, unless force is set.
func Create(ctx context.Context, tx pgx.Tx, enqueuer *jobs.Enqueuer, scope Scope, force bool) (id int64, err error) {
	users := slices.Compact(slices.Sorted(slices.Values(scope.Users))) // nil for none
	if _, err := tx.Exec(ctx, oneCreatorQuery); err != nil {
		return 0, err
	}
	if !force {
		err := tx.QueryRow(ctx, sameScopeQuery, users, scope.From, scope.To).Scan(&id)
		if err == nil {
			return 0, &RunningError{ID: id}
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return 0, fmt.Errorf("find a backfill of the same scope: %w", err)
		}
	}
	if err := tx.QueryRow(ctx, createQuery, users, scope.From, scope.To).Scan(&id); err != nil {
		return 0, fmt.Errorf("create backfill: %w", err)
	}
	return id, enqueuePlanning(ctx, tx, enqueuer, id)
}

func enqueuePlanning(ctx context.Context, tx pgx.Tx, enqueuer *jobs.Enqueuer, id int64) error {
	jobIDs, err := enqueuer.BackfillTx(ctx, tx, jobs.ACWRBackfill{BackfillID: id})
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, setPlanJobQuery, id, jobIDs[0])
	return err
}
