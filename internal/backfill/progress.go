package backfill

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
)

// States of a backfill. The operator sets the first three; a running backfill is finished
// when no chunk is left.
const (
	Running   = "running"
	Paused    = "paused"
	Cancelled = "cancelled"
	Finished  = "finished"
)

// Backfill is a backfill with its progress.
type Backfill struct {
	ID        int64      `json:"id"`
	State     string     `json:"state"` // running, paused, cancelled or finished
	Users     []int32    `json:"users"` // null: all users
	From      *string    `json:"from"`  // YYYY-MM-DD; null: from the first activity
	To        *string    `json:"to"`    // null: to the last activity
	Planned   bool       `json:"planned"`
	CreatedAt time.Time  `json:"created_at"`
	EndedAt   *time.Time `json:"ended_at"`

	Chunks       Share `json:"chunks"`
	FailedChunks int64 `json:"failed_chunks"`
	UserCount    Share `json:"user_count"`
	Rows         Share `json:"rows"`
	RowsChanged  int64 `json:"rows_changed"`
}

// Share is the part that is done, and the total. The total grows until the backfill
// is planned.
type Share struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// progressQuery adds up the chunks of backfills. A pending chunk of a running backfill
// whose job is gone, discarded or cancelled has failed as well: it will not be worked.
const progressQuery = `
-- name: backfill_progress
SELECT b.id, b.state, b.users, b.from_date::text, b.to_date::text, b.planned, b.created_at,
       coalesce(b.ended_at, CASE WHEN b.planned AND c.waiting = 0 THEN coalesce(c.finished_at, b.created_at) END),
       c.finished, c.chunks, c.failed, c.users_finished, c.users, c.rows_finished, c.rows, c.rows_changed, c.waiting
FROM acwr_backfills AS b
CROSS JOIN LATERAL (
	SELECT count(*) AS chunks,
	       count(*) FILTER (WHERE finished) AS finished,
	       count(*) FILTER (WHERE NOT finished AND NOT lost) AS waiting,
	       count(*) FILTER (WHERE state = 'failed' OR lost) AS failed,
	       coalesce(sum(cardinality(chunk.users)), 0)::bigint AS users,
	       coalesce(sum(cardinality(chunk.users)) FILTER (WHERE finished), 0)::bigint AS users_finished,
	       coalesce(sum(rows), 0)::bigint AS rows,
	       coalesce(sum(rows) FILTER (WHERE finished), 0)::bigint AS rows_finished,
	       coalesce(sum(rows_changed), 0)::bigint AS rows_changed,
	       max(finished_at) AS finished_at
	FROM (` + chunksOfBackfill + `) AS chunk
) AS c
WHERE {which}
ORDER BY b.id DESC`

// chunksOfBackfill is a subquery: the chunks of b with the outcomes of their jobs.
const chunksOfBackfill = `
	SELECT chunks.*, state <> 'pending' AS finished,
	       b.state = 'running' AND state = 'pending' AND NOT coalesce(job.unfinished, false) AS lost, job.last_error
	FROM acwr_backfill_chunks AS chunks
	LEFT JOIN LATERAL ({outcome}) AS job ON chunks.state = 'pending'
	WHERE chunks.backfill_id = b.id`

// Get returns one backfill, or ErrNotFound.
func Get(ctx context.Context, db dbpool.Querier, riverSchema string, id int64) (Backfill, error) {
	found, err := read(ctx, db, riverSchema, "b.id = $1", id)
	if err != nil {
		return Backfill{}, err
	}
	if len(found) == 0 {
		return Backfill{}, fmt.Errorf("backfill %d: %w", id, ErrNotFound)
	}
	return found[0], nil
}

// List returns up to limit of the newest backfills, newest first.
func List(ctx context.Context, db dbpool.Querier, riverSchema string, limit int) ([]Backfill, error) {
	return read(ctx, db, riverSchema, "b.id IN (SELECT id FROM acwr_backfills ORDER BY id DESC LIMIT $1)", limit)
}

func read(ctx context.Context, db dbpool.Querier, riverSchema, which string, arg any) ([]Backfill, error) {
	query := strings.ReplaceAll(withOutcomes(progressQuery, riverSchema), "{which}", which)
	return dbpool.Collect(ctx, db, "read backfills", func(row pgx.CollectableRow) (b Backfill, err error) {
		var waiting int64
		err = row.Scan(&b.ID, &b.State, &b.Users, &b.From, &b.To, &b.Planned, &b.CreatedAt, &b.EndedAt,
			&b.Chunks.Done, &b.Chunks.Total, &b.FailedChunks, &b.UserCount.Done, &b.UserCount.Total,
			&b.Rows.Done, &b.Rows.Total, &b.RowsChanged, &waiting)
		if b.State == Running && b.Planned && waiting == 0 {
			b.State = Finished
		}
		return b, err
	}, query, arg)
}

// Failure is a chunk that could not be recalculated completely.
type Failure struct {
	Chunk  int32   `json:"chunk"`
	Users  []int32 `json:"users"`
	Reason string  `json:"reason"`
}

const failuresQuery = `
-- name: backfill_failures
SELECT chunk.number, chunk.users, coalesce(chunk.error, chunk.last_error, 'its job is gone')
FROM acwr_backfills AS b
CROSS JOIN LATERAL (` + chunksOfBackfill + `) AS chunk
WHERE b.id = $1 AND (chunk.state = 'failed' OR chunk.lost)
ORDER BY chunk.number`

// Failures returns the chunks of a backfill that failed, with the reasons.
func Failures(ctx context.Context, db dbpool.Querier, riverSchema string, id int64) ([]Failure, error) {
	return dbpool.Collect(ctx, db, fmt.Sprintf("read the failures of backfill %d", id), pgx.RowToStructByPos[Failure], withOutcomes(failuresQuery, riverSchema), id)
}

// withOutcomes inserts the outcomes of the chunks' jobs into a query over chunksOfBackfill.
func withOutcomes(query, riverSchema string) string {
	return strings.Replace(query, "{outcome}", queue.Schema(riverSchema).Outcome("chunks.job_id"), 1)
}
