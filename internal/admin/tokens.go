package admin

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
)

// maxCounted is the number up to which rows are counted.
const maxCounted = 10_000

// Tokens counts the athletes' tokens by their state. A count above 10,000 is PostgreSQL's
// estimate.
type Tokens struct {
	Valid                int64 `json:"valid"`
	Expiring             int64 `json:"expiring"` // within half an hour
	Expired              int64 `json:"expired"`
	NeedsReauthorization int64 `json:"needs_reauthorization"` // the athlete has to connect again
}

// selectTokens selects the tokens to count: those with more than $1 and at most $2
// seconds left, along an index. It uses now(), for which the index can be used, unlike
// for clock_timestamp(), which is volatile.
const selectTokens = `
FROM user_tokens
WHERE reauthorize_since IS NULL
  AND coalesce({schema}.token_expiry_seconds(expires_at), 0) > floor(extract(epoch FROM now()))::bigint + $1::bigint
  AND coalesce({schema}.token_expiry_seconds(expires_at), 0) <= floor(extract(epoch FROM now()))::bigint + $2::bigint`

const selectReauthorized = ` FROM user_tokens WHERE reauthorize_since IS NOT NULL`

// Counting stops at the limit; above it the planner's estimate is used.
const (
	countTokensQuery = `
-- name: snapshot_count_tokens
SELECT count(*) FROM (SELECT` + selectTokens + ` LIMIT $3) AS first`
	countReauthorizedQuery = `
-- name: snapshot_count_reauthorize
SELECT count(*) FROM (SELECT` + selectReauthorized + ` LIMIT $1) AS first`
)

// lifetime is a range of seconds that tokens have left, and the number of tokens in it.
type lifetime struct {
	tokens      *int64
	above, upTo int64
}

func (t *Tokens) lifetimes() []lifetime {
	const ever, soon = 1 << 60, 30 * 60
	return []lifetime{{&t.Expired, -ever, 0}, {&t.Expiring, 0, soon}, {&t.Valid, soon, ever}}
}

func queueTokens(batch *pgx.Batch, river queue.Schema, s *Snapshot) {
	for _, l := range s.Tokens.lifetimes() {
		batch.Queue(river.SQL(countTokensQuery), l.above, l.upTo, maxCounted+1).QueryRow(func(row pgx.Row) error { return row.Scan(l.tokens) })
	}
	batch.Queue(countReauthorizedQuery, maxCounted+1).QueryRow(func(row pgx.Row) error { return row.Scan(&s.Tokens.NeedsReauthorization) })
}

// estimateManyTokens replaces the counts that stopped at the limit.
func estimateManyTokens(ctx context.Context, tx pgx.Tx, river queue.Schema, t *Tokens) error {
	for _, l := range t.lifetimes() {
		if err := estimateMany(ctx, tx, l.tokens, river.SQL(`SELECT`+selectTokens), l.above, l.upTo); err != nil {
			return err
		}
	}
	return estimateMany(ctx, tx, &t.NeedsReauthorization, `SELECT`+selectReauthorized)
}

// estimateMany never sets less than was counted.
func estimateMany(ctx context.Context, tx pgx.Tx, counted *int64, query string, args ...any) error {
	if *counted <= maxCounted {
		return nil
	}
	rows, err := queue.EstimateRows(ctx, tx, query, args...)
	*counted = max(*counted, int64(rows))
	return err
}
