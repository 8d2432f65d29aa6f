package tokens

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
)

// dueQuery finds the users whose tokens expire soon, unless an unfinished job will refresh
// them. It compares with now(), for which the index on the expiry can be used.
const dueQuery = `
-- name: tokens_due
SELECT t.user_id::int
FROM user_tokens AS t
WHERE t.reauthorize_since IS NULL AND t.refresh_token <> ''
  AND coalesce({schema}.token_expiry_seconds(t.expires_at), 0) <= floor(extract(epoch FROM now() + $1::interval))::bigint
  AND NOT EXISTS (SELECT FROM ({to_refresh}) AS planned WHERE planned.user_id = t.user_id)
ORDER BY t.user_id`

// RefreshBefore is how long before their expiry workers refresh tokens by themselves. It
// leaves time for several tries.
const RefreshBefore = 30 * time.Minute

// Due returns the users whose tokens expire within the given time, except those who
// have to authorize again and those of unfinished jobs.
func Due(ctx context.Context, tx pgx.Tx, riverSchema string, within time.Duration) ([]int32, error) {
	return dbpool.Collect(ctx, tx, "find tokens that expire", pgx.RowTo[int32], dueIn(riverSchema), within)
}

func dueIn(riverSchema string) string {
	river := queue.Schema(riverSchema)
	return river.SQL(strings.Replace(dueQuery, "{to_refresh}", river.UsersToRefresh(), 1))
}
