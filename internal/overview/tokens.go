package overview

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Tokens counts the athletes' tokens by what they are good for.
type Tokens struct {
	Valid                int64 `json:"valid"`
	Expiring             int64 `json:"expiring"` // within half an hour
	Expired              int64 `json:"expired"`
	NeedsReauthorization int64 `json:"needs_reauthorization"` // the athlete has to connect again
}

// hasTokensQuery tells whether there is a table of tokens to count.
const hasTokensQuery = `
-- name: overview_has_tokens
SELECT count(*) = 2 FROM pg_attribute
WHERE attrelid = to_regclass('user_tokens') AND attname IN ('expires_at', 'needs_reauthorization_at') AND NOT attisdropped`

const tokensQuery = `
-- name: overview_tokens
SELECT count(*) FILTER (WHERE needs_reauthorization_at IS NULL AND expires_at > epoch + 1800),
       count(*) FILTER (WHERE needs_reauthorization_at IS NULL AND expires_at > epoch AND expires_at <= epoch + 1800),
       count(*) FILTER (WHERE needs_reauthorization_at IS NULL AND expires_at <= epoch),
       count(*) FILTER (WHERE needs_reauthorization_at IS NOT NULL)
FROM user_tokens, (SELECT extract(epoch FROM clock_timestamp())::bigint AS epoch) AS clock`

func readTokens(ctx context.Context, tx pgx.Tx) (*Tokens, error) {
	var exists bool
	if err := tx.QueryRow(ctx, hasTokensQuery).Scan(&exists); err != nil || !exists {
		return nil, err
	}
	t := &Tokens{}
	return t, tx.QueryRow(ctx, tokensQuery).Scan(&t.Valid, &t.Expiring, &t.Expired, &t.NeedsReauthorization)
}
