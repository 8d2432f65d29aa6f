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

const tokensQuery = `
-- name: overview_tokens
SELECT count(*) FILTER (WHERE reauthorize_since IS NULL AND left_seconds > 1800),
       count(*) FILTER (WHERE reauthorize_since IS NULL AND left_seconds > 0 AND left_seconds <= 1800),
       count(*) FILTER (WHERE reauthorize_since IS NULL AND left_seconds <= 0),
       count(*) FILTER (WHERE reauthorize_since IS NOT NULL)
FROM (SELECT reauthorize_since, coalesce({schema}.token_expiry_seconds(expires_at), 0) - extract(epoch FROM clock_timestamp()) AS left_seconds
      FROM user_tokens) AS t`

func readTokens(ctx context.Context, tx pgx.Tx, riverSchema string) (t Tokens, err error) {
	err = tx.QueryRow(ctx, inSchema(tokensQuery, riverSchema)).Scan(&t.Valid, &t.Expiring, &t.Expired, &t.NeedsReauthorization)
	return t, err
}
