package backfill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Chunk is the part of a backfill that one transaction recalculates.
type Chunk struct {
	Scope
	ID     int64 // of the backfill
	Number int32
}

// lockChunkQuery locks the chunk and the backfill's state until the commit: pausing or
// cancelling waits for the chunks under way, and no other chunk starts after it.
const lockChunkQuery = `
-- name: backfill_lock_chunk
SELECT c.users, b.from_date, b.to_date
FROM acwr_backfills AS b
JOIN acwr_backfill_chunks AS c ON c.backfill_id = b.id
WHERE b.id = $1 AND c.number = $2 AND b.state = 'running' AND c.state = 'pending'
FOR SHARE OF b
FOR UPDATE OF c`

// Lock returns the chunk, or nil if there is nothing to do: the backfill is not
// running, or the chunk is finished.
func Lock(ctx context.Context, tx pgx.Tx, id int64, number int32) (*Chunk, error) {
	chunk := &Chunk{ID: id, Number: number}
	err := tx.QueryRow(ctx, lockChunkQuery, id, number).Scan(&chunk.Users, &chunk.From, &chunk.To)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // no chunk is no error
	}
	if err != nil {
		return nil, fmt.Errorf("lock chunk %d of backfill %d: %w", number, id, err)
	}
	return chunk, nil
}

// finishChunkQuery records the time of the clock, not of the transaction's start.
const finishChunkQuery = `
-- name: backfill_finish_chunk
UPDATE acwr_backfill_chunks
SET state = CASE WHEN $4 = '' THEN 'done' ELSE 'failed' END, error = nullif($4, ''), rows_changed = $3, finished_at = clock_timestamp()
WHERE backfill_id = $1 AND number = $2`

// Finish queues the statement that records that the chunk is done, or why a part of it
// failed.
func (c *Chunk) Finish(b *pgx.Batch, rowsChanged int, failure string) {
	b.Queue(finishChunkQuery, c.ID, c.Number, rowsChanged, failure)
}

// Probe queues the statements of a chunk for a chunk that does not exist: if one fails,
// no chunk is the cause.
func Probe(b *pgx.Batch) {
	b.Queue(lockChunkQuery, 0, 0)
	(&Chunk{}).Finish(b, 0, "")
}

// Dates returns the chunk's dates. A missing bound is the first or last date that a
// history can have.
func (c *Chunk) Dates() (from, to time.Time) {
	begin, end := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	return *cmp.Or(c.From, &begin), *cmp.Or(c.To, &end)
}
