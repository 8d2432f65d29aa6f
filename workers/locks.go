package workers

import (
	"github.com/jackc/pgx/v5"
)

// ensureUserLocksQuery makes the lock rows of users seen for the first time. In
// key order, because an insert waits for another transaction's insert of the
// same key.
const ensureUserLocksQuery = `
-- name: ensure_user_locks
INSERT INTO user_locks (user_id)
SELECT u FROM unnest($1::int[]) AS u
WHERE NOT EXISTS (SELECT FROM user_locks WHERE user_id = u)
ORDER BY u
ON CONFLICT DO NOTHING`

// lockUsersQuery locks in ascending order: the sort is below the locking. The
// reading statement must come after it as a statement of its own, for a
// statement that locks and reads would read what was there before it waited.
const lockUsersQuery = `
-- name: lock_users
SELECT count(*) FROM (
	SELECT FROM user_locks WHERE user_id = ANY($1::int[]) ORDER BY user_id FOR UPDATE
) AS locked`

// queueUserLocks puts the taking of the per-user locks at the head of a
// transaction's statements. users must be distinct and ascending. Whoever reads
// a user's activities in order to write them holds that user's lock until
// commit.
func queueUserLocks(b *pgx.Batch, users []int32) {
	b.Queue(ensureUserLocksQuery, users)
	b.Queue(lockUsersQuery, users)
}
