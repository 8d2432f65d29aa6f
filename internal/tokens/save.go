package tokens

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// unknownTries is how often a batch is retried after a commit without an answer.
const unknownTries = 5

// Save applies the operations in order and writes their audit rows, in one transaction
// and four round trips for any number of operations. outcomes has nil for each operation
// that was applied, and the reason for each refused one, which has an audit row as well.
// If err is not nil, nothing was changed.
func (s *Store) Save(ctx context.Context, operations []Operation) (outcomes []error, err error) {
	if len(operations) == 0 {
		return nil, nil
	}
	for try := 1; ; try++ {
		err = s.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			outcomes, err = s.saveIn(ctx, tx, operations, try > 1)
			return err
		})
		if try == unknownTries || !errors.Is(err, dbpool.ErrOutcomeUnknown) || dbpool.Backoff(ctx, try) != nil {
			break
		}
	}
	if err != nil && dbpool.Classify(err) == dbpool.Data {
		outcomes, err = s.saveIndividually(ctx, operations)
	}
	if err != nil {
		return nil, fmt.Errorf("save tokens: %w", err)
	}
	return outcomes, nil
}

// lockQuery reads and locks rows in ascending order, because PostgreSQL sorts before
// it locks.
const lockQuery = `
-- name: token_lock
SELECT ` + rowColumns + ` FROM user_tokens WHERE user_id = ANY($1::int[]) ORDER BY user_id FOR UPDATE`

// saveIn locks the rows, decides in memory, and writes.
func (s *Store) saveIn(ctx context.Context, tx pgx.Tx, operations []Operation, again bool) ([]error, error) {
	states := map[int32]*state{}
	for i := range operations {
		states[operations[i].UserID] = &state{}
	}
	users := slices.Sorted(maps.Keys(states))
	rows, _ := tx.Query(ctx, s.river.SQL(lockQuery), users)
	var r row
	_, err := pgx.ForEachRow(rows, r.targets(), func() error {
		st := states[r.userID]
		st.row, st.exists = r, true
		st.token, st.unreadable = s.open(&r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	stored := make(map[int32]bool, len(users))
	for user, st := range states {
		stored[user] = st.exists
	}

	outcomes := make([]error, len(operations))
	var audits []*audit
	for i := range operations {
		a, refusal := s.decide(states[operations[i].UserID], &operations[i], again)
		outcomes[i] = refusal
		if a != nil {
			audits = append(audits, a)
		}
	}
	var old, fresh []*state
	for _, user := range users {
		switch st := states[user]; {
		case !st.changed:
		case stored[user]:
			old = append(old, st)
		default:
			fresh = append(fresh, st)
		}
	}
	batch := &pgx.Batch{}
	if len(old) > 0 {
		batch.Queue(s.river.SQL(updateQuery), arrays(old)...)
	}
	if len(fresh) > 0 {
		batch.Queue(s.river.SQL(insertQuery), arrays(fresh)...)
	}
	queueAudits(batch, audits)
	if batch.Len() == 0 {
		return outcomes, nil
	}
	return outcomes, tx.SendBatch(ctx, batch).Close()
}

// savedColumns is a FROM item: the arrays of function arrays as a relation.
const savedColumns = `unnest($1::int[], $2::text[], $3::text[], $4::bigint[], $5::bool[], $6::text[], $7::timestamptz[], $8::text[], $9::text[])
	AS new (user_id, access_token, refresh_token, expires, saved, refresh_by, refresh_until, refresh_hash, reason)`

// updateQuery writes locked rows. Times are those of the clock, because the
// transaction has waited for locks since its start.
const updateQuery = `
-- name: token_update
UPDATE user_tokens AS t
SET access_token = nullif(new.access_token, ''), refresh_token = nullif(new.refresh_token, ''),
    expires_at = {schema}.token_expiry_stored(nullif(new.expires, 0)),
    saved_at = CASE WHEN new.saved THEN clock_timestamp() ELSE t.saved_at END,
    refresh_by = nullif(new.refresh_by, ''), refresh_until = new.refresh_until, refresh_hash = nullif(new.refresh_hash, ''),
    reauthorize_since = CASE WHEN new.reason <> '' THEN coalesce(t.reauthorize_since, clock_timestamp()) END,
    reauthorize_reason = nullif(new.reason, '')
FROM ` + savedColumns + `
WHERE t.user_id = new.user_id`

// insertQuery writes the first tokens of users, in key order. Tokens that another
// transaction stored at the same time are replaced. It is not used for existing rows,
// because the application's table may have further NOT NULL columns, for which an insert
// would be refused.
const insertQuery = `
-- name: token_insert
INSERT INTO user_tokens (user_id, access_token, refresh_token, expires_at, saved_at, reauthorize_since, reauthorize_reason)
SELECT user_id, access_token, refresh_token, {schema}.token_expiry_stored(expires), clock_timestamp(),
	CASE WHEN reason <> '' THEN clock_timestamp() END, nullif(reason, '')
FROM ` + savedColumns + `
ORDER BY user_id
ON CONFLICT (user_id) DO UPDATE
SET access_token = excluded.access_token, refresh_token = excluded.refresh_token, expires_at = excluded.expires_at,
	saved_at = excluded.saved_at, refresh_by = NULL, refresh_until = NULL, refresh_hash = NULL,
	reauthorize_since = excluded.reauthorize_since, reauthorize_reason = excluded.reauthorize_reason`

// arrays returns one array per column.
func arrays(states []*state) []any {
	n := len(states)
	users, access, refresh, expires, saved := make([]int32, n), make([]string, n), make([]string, n), make([]int64, n), make([]bool, n)
	by, until, hashes, reasons := make([]string, n), make([]*time.Time, n), make([]string, n), make([]string, n)
	for i, st := range states {
		users[i], access[i], refresh[i], expires[i], saved[i] = st.userID, st.access, st.refresh, st.expires, st.saved
		by[i], until[i], hashes[i], reasons[i] = st.leaseBy, st.leaseUntil, st.leaseHash, string(st.reauthorize)
	}
	return []any{users, access, refresh, expires, saved, by, until, hashes, reasons}
}

// auditQuery passes details as text, because the column is json or jsonb. If the user's
// data were purged meanwhile, it writes no row.
const auditQuery = `
-- name: token_audit
INSERT INTO token_audit_log (user_id, operation, success, timestamp, user_agent, details)
SELECT user_id, operation, success, clock_timestamp(), nullif(user_agent, ''), details::json
FROM unnest($1::int[], $2::text[], $3::bool[], $4::text[], $5::text[], $6::bool[])
	AS new (user_id, operation, success, user_agent, details, missing)
WHERE NOT (missing AND EXISTS (SELECT FROM user_locks AS l WHERE l.user_id = new.user_id AND l.purged_through IS NOT NULL))`

func queueAudits(batch *pgx.Batch, audits []*audit) {
	n := len(audits)
	if n == 0 {
		return
	}
	users, operations, successes := make([]int32, n), make([]string, n), make([]bool, n)
	agents, details, missing := make([]string, n), make([]string, n), make([]bool, n)
	for i, a := range audits {
		users[i], operations[i], successes[i], agents[i], details[i], missing[i] = a.userID, a.operation, a.success, a.agent, a.details, a.missing
	}
	batch.Queue(auditQuery, users, operations, successes, agents, details, missing)
}
