package workers

import (
	"github.com/jackc/pgx/v5"
)

// purges has, by user, the newest job id at the time of the user's purge: jobs up to it
// do nothing for that user.
type purges map[int32]int64

// covers reports whether a job was enqueued before the user's data were purged.
func (p purges) covers(userID int32, jobID int64) bool {
	through, purged := p[userID]
	return purged && jobID <= through
}

// ensureUserLocksQuery inserts the lock rows of new users, in key order,
// because an insert waits for another transaction's insert of the same key.
const ensureUserLocksQuery = `
-- name: ensure_user_locks
INSERT INTO user_locks (user_id)
SELECT u FROM unnest($1::int[]) AS u
WHERE NOT EXISTS (SELECT FROM user_locks WHERE user_id = u)
ORDER BY u
ON CONFLICT DO NOTHING`

// lockUsersQuery locks in ascending order, because PostgreSQL sorts before it locks.
// Activities are read by a later statement: this one would read them in the snapshot
// from before it waited. Only the locked rows themselves are returned in their current
// version. The conditions are FILTER clauses of aggregates, because a WHERE would change
// which rows are locked.
const lockUsersQuery = `
-- name: lock_users
SELECT array_agg(user_id) FILTER (WHERE purged_through IS NOT NULL), array_agg(purged_through) FILTER (WHERE purged_through IS NOT NULL)
FROM (
	SELECT user_id, purged_through FROM user_locks WHERE user_id = ANY($1::int[]) ORDER BY user_id FOR UPDATE
) AS locked`

// queueUserLocks queues the statements that lock users until the commit. They must come
// before any that reads activities. users must be distinct and ascending. purged, unless
// it is nil, receives the users whose data were purged.
func queueUserLocks(b *pgx.Batch, users []int32, purged func(purges)) {
	b.Queue(ensureUserLocksQuery, users)
	lock := b.Queue(lockUsersQuery, users)
	if purged == nil {
		return
	}
	lock.QueryRow(func(row pgx.Row) error {
		var purgedUsers []int32
		var through []int64
		if err := row.Scan(&purgedUsers, &through); err != nil || len(purgedUsers) == 0 {
			return err
		}
		p := make(purges, len(purgedUsers))
		for i, user := range purgedUsers {
			p[user] = through[i]
		}
		purged(p)
		return nil
	})
}
