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
WHERE attrelid = to_regclass('user_tokens') AND attname IN ('expires_at', 'reauthorize_since') AND NOT attisdropped`

const tokensQuery = `
-- name: overview_tokens
SELECT count(*) FILTER (WHERE reauthorize_since IS NULL AND left_seconds > 1800),
       count(*) FILTER (WHERE reauthorize_since IS NULL AND left_seconds > 0 AND left_seconds <= 1800),
       count(*) FILTER (WHERE reauthorize_since IS NULL AND left_seconds <= 0),
       count(*) FILTER (WHERE reauthorize_since IS NOT NULL)
FROM (SELECT reauthorize_since, coalesce({schema}.token_expiry_seconds(expires_at), 0) - extract(epoch FROM clock_timestamp()) AS left_seconds
      FROM user_tokens) AS t`

func readTokens(ctx context.Context, tx pgx.Tx, riverSchema string) (*Tokens, error) {
	var exists bool
	if err := tx.QueryRow(ctx, hasTokensQuery).Scan(&exists); err != nil || !exists {
		return nil, err
	}
	t := &Tokens{}
	return t, tx.QueryRow(ctx, inSchema(tokensQuery, riverSchema)).Scan(&t.Valid, &t.Expiring, &t.Expired, &t.NeedsReauthorization)
}
