package tokens

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
)

// Status counts users by the state of their tokens. Each user is in one of the first four
// counts.
type Status struct {
	Fresh                int64 `json:"fresh"`
	Expiring             int64 `json:"expiring"`
	Expired              int64 `json:"expired"`
	NeedsReauthorization int64 `json:"needs_reauthorization"`

	Refreshing  int64            `json:"refreshing"`   // right now
	Keys        map[string]int64 `json:"keys"`         // users by the id of the key with which their refresh token is encrypted
	Plaintext   int64            `json:"plaintext"`    // users with a token that is not encrypted
	PausedUntil *time.Time       `json:"paused_until"` // as the provider requested; null for no pause

	Reauthorize []NeedsUser `json:"reauthorize"` // the users who have to authorize again, the longest waiting first, at most 1,000
}

// NeedsUser is a user who has to authorize again.
type NeedsUser struct {
	UserID int32     `json:"user_id"`
	Reason Reason    `json:"reason"`
	Since  time.Time `json:"since"`
}

// statusQuery reads only the prefix of a token, which says how it is encrypted. A
// row without a refresh token counts as expired, regardless of its time.
const statusQuery = `
-- name: token_status
SELECT CASE WHEN reauthorize_since IS NOT NULL THEN 'needs'
            WHEN left_seconds <= 0 THEN 'expired'
            WHEN left_seconds <= extract(epoch FROM $1::interval) THEN 'expiring'
            ELSE 'fresh' END AS state,
       CASE WHEN refresh_token LIKE 'enc:%' AND coalesce(access_token, 'enc:') LIKE 'enc:%' THEN split_part(refresh_token, ':', 3) ELSE '' END AS key,
       count(*), count(*) FILTER (WHERE refresh_until > clock_timestamp())
FROM (SELECT *, coalesce({schema}.token_expiry_seconds(expires_at), 0) - extract(epoch FROM clock_timestamp()) AS left_seconds
      FROM user_tokens WHERE $2::int[] IS NULL OR user_id = ANY($2)) AS t
GROUP BY state, key`

const needsUserQuery = `
-- name: token_needs_user
SELECT user_id::int, coalesce(reauthorize_reason, 'refused'), reauthorize_since FROM user_tokens
WHERE reauthorize_since IS NOT NULL AND ($1::int[] IS NULL OR user_id = ANY($1))
ORDER BY reauthorize_since, user_id
LIMIT 1000`

const pausedQuery = `
-- name: token_paused_until
SELECT nullif(greatest(paused_until, clock_timestamp()), clock_timestamp()) FROM token_provider`

// GetStatus counts all users, or those of a list. Tokens that expire within the
// given time count as expiring.
func GetStatus(ctx context.Context, pool *dbpool.Pool, riverSchema string, within time.Duration, users []int32) (Status, error) {
	status := Status{Keys: map[string]int64{}}
	batch := &pgx.Batch{}
	batch.Queue(queue.Schema(riverSchema).SQL(statusQuery), within, users).Query(func(rows pgx.Rows) error {
		var state, key string
		var n, refreshing int64
		_, err := pgx.ForEachRow(rows, []any{&state, &key, &n, &refreshing}, func() error {
			status.add(state, key, n)
			status.Refreshing += refreshing
			return nil
		})
		return err
	})
	batch.Queue(needsUserQuery, users).Query(dbpool.Into(&status.Reauthorize))
	batch.Queue(pausedQuery).QueryRow(func(row pgx.Row) error { return row.Scan(&status.PausedUntil) })
	if err := pool.SendBatch(ctx, batch).Close(); err != nil {
		return Status{}, fmt.Errorf("read the status of tokens: %w", err)
	}
	return status, nil
}

func (s *Status) add(state, key string, n int64) {
	switch state {
	case "needs":
		s.NeedsReauthorization += n
	case "expired":
		s.Expired += n
	case "expiring":
		s.Expiring += n
	default:
		s.Fresh += n
	}
	if key == "" {
		s.Plaintext += n
	} else {
		s.Keys[key] += n
	}
}
