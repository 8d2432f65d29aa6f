package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// ErrNotFound is returned for the id of a reject that does not exist.
var ErrNotFound = errors.New("no such row")

// Reject is an activity that was accepted and then found invalid.
type Reject struct {
	ID         int64     `json:"id"`
	JobID      int64     `json:"job_id"`
	UserID     *int64    `json:"user_id"`     // null where the payload does not say
	ActivityID *int64    `json:"activity_id"` // null where the payload does not say
	Reason     string    `json:"reason"`
	RejectedAt time.Time `json:"rejected_at"`
}

const listRejectsQuery = `
-- name: admin_list_rejects
SELECT id, job_id, user_id, activity_id, reason, rejected_at FROM ingest_rejects WHERE {where} ORDER BY id DESC LIMIT @limit`

// ListRejects returns up to limit of the newest rejects that the filter selects, never nil.
func (o *Actions) ListRejects(ctx context.Context, f Filter, limit int) ([]Reject, error) {
	args := pgx.NamedArgs{"limit": limit}
	return dbpool.Collect(ctx, o.pool, "list rejects", pgx.RowToStructByPos[Reject], f.put(listRejectsQuery, args), args)
}

// RejectDetails is a reject with its payload.
type RejectDetails struct {
	Reject
	Payload json.RawMessage `json:"payload"`
}

const showRejectQuery = `
-- name: admin_show_reject
SELECT id, job_id, user_id, activity_id, reason, rejected_at, payload FROM ingest_rejects WHERE id = $1`

// ShowReject returns a reject, or ErrNotFound.
func (o *Actions) ShowReject(ctx context.Context, id int64) (r RejectDetails, err error) {
	r, err = dbpool.CollectOne(ctx, o.pool, fmt.Sprintf("reject %d", id), pgx.RowToStructByPos[RejectDetails], showRejectQuery, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return r, fmt.Errorf("reject %d: %w", id, ErrNotFound)
	}
	return r, err
}

// RejectPreview says how many rejects a bulk action would change.
type RejectPreview struct {
	Rejects int64
	Users   int64
	newest  int64 // younger rejects are not touched: they were not in the preview
}

const previewRejectsQuery = `
-- name: admin_preview_rejects
SELECT count(*), count(DISTINCT user_id), coalesce(max(id), 0) FROM ingest_rejects WHERE {where}`

// PreviewRejects counts the rejects that the filter selects.
func (o *Actions) PreviewRejects(ctx context.Context, f Filter) (p RejectPreview, err error) {
	args := pgx.NamedArgs{}
	if err := o.pool.QueryRow(ctx, f.put(previewRejectsQuery, args), args).Scan(&p.Rejects, &p.Users, &p.newest); err != nil {
		return p, fmt.Errorf("preview: %w", err)
	}
	return p, nil
}

// dropRejectsQuery deletes the next rejects in key order.
const dropRejectsQuery = `
-- name: admin_drop_rejects
DELETE FROM ingest_rejects WHERE id IN (
	SELECT id FROM ingest_rejects WHERE {where} AND id <= @newest ORDER BY id LIMIT @limit FOR UPDATE
)`

// DropRejects deletes the rejects of a preview and returns how many it deleted.
func (o *Actions) DropRejects(ctx context.Context, f Filter, p RejectPreview) (dropped int64, err error) {
	args := pgx.NamedArgs{"newest": p.newest, "limit": step}
	query := f.put(dropRejectsQuery, args)
	for {
		var n int64
		err := o.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, query, args)
			n = tag.RowsAffected()
			return err
		})
		if err != nil {
			return dropped, fmt.Errorf("drop rejects: %w", err)
		}
		if dropped += n; n < step {
			return dropped, nil
		}
	}
}
