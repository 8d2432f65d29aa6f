package tokens

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// RotateBatch is how many rows one transaction of a rotation locks.
const RotateBatch = 500

// Rotation is the progress of a rotation.
type Rotation struct {
	Key        string  `json:"key"`        // the id of the current key, with which everything is encrypted
	Total      int64   `json:"total"`      // rows that were not encrypted with it at the start
	Rotated    int64   `json:"rotated"`    // rows that were encrypted again
	Unreadable []int32 `json:"unreadable"` // users whose tokens do not decrypt; left unchanged
}

// staleCondition finds rows with a text that the current key did not seal.
const staleCondition = `((access_token <> '' AND NOT starts_with(access_token, $1)) OR (refresh_token <> '' AND NOT starts_with(refresh_token, $1)))`

const countStaleQuery = `
-- name: token_count_stale
SELECT count(*) FROM user_tokens WHERE ` + staleCondition

// staleQuery locks the next rows in key order. A concurrent save of new tokens waits,
// and then compares with the same refresh token.
const staleQuery = `
-- name: token_stale
SELECT ` + rowColumns + ` FROM user_tokens WHERE user_id > $2 AND ` + staleCondition + ` ORDER BY user_id LIMIT $3 FOR UPDATE`

// resealQuery changes only the texts.
const resealQuery = `
-- name: token_reseal
UPDATE user_tokens AS t SET access_token = nullif(new.access_token, ''), refresh_token = nullif(new.refresh_token, '')
FROM unnest($1::int[], $2::text[], $3::text[]) AS new (user_id, access_token, refresh_token)
WHERE t.user_id = new.user_id`

// Rotate encrypts with the current key all texts that are encrypted with older keys or
// not at all. Other processes may read, save and refresh meanwhile. It repeats until it
// finds no more rows, because a process with an older current key may write new ones.
// progress is called after every batch.
func (s *Store) Rotate(ctx context.Context, progress func(Rotation)) (Rotation, error) {
	r := Rotation{Key: s.ring.Current(), Unreadable: []int32{}}
	if err := s.pool.QueryRow(ctx, countStaleQuery, s.ring.CurrentPrefix()).Scan(&r.Total); err != nil {
		return r, fmt.Errorf("rotate: %w", err)
	}
	for {
		r.Unreadable = r.Unreadable[:0]
		rotated := int64(0)
		for after, more := int32(0), true; more; {
			batch, err := s.rotateBatch(ctx, after)
			if err != nil {
				return r, fmt.Errorf("rotate: %w", err)
			}
			after, more = batch.last, batch.more
			rotated += batch.rotated
			r.Rotated += batch.rotated
			r.Unreadable = append(r.Unreadable, batch.unreadable...)
			progress(r)
		}
		if rotated == 0 {
			return r, nil
		}
	}
}

type rotated struct {
	rotated    int64
	unreadable []int32
	last       int32
	more       bool
}

func (s *Store) rotateBatch(ctx context.Context, after int32) (done rotated, err error) {
	err = s.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		done = rotated{last: after}
		rows, _ := tx.Query(ctx, s.river.SQL(staleQuery), s.ring.CurrentPrefix(), after, RotateBatch)
		found, err := pgx.CollectRows(rows, func(rows pgx.CollectableRow) (r row, err error) {
			return r, rows.Scan(r.targets()...)
		})
		if err != nil || len(found) == 0 {
			return err
		}
		done.last, done.more = found[len(found)-1].userID, len(found) == RotateBatch
		var users []int32
		var access, refresh []string
		var audits []*audit
		for i := range found {
			r := &found[i]
			token, err := s.open(r)
			if err != nil {
				done.unreadable = append(done.unreadable, r.userID)
				continue
			}
			users = append(users, r.userID)
			access = append(access, s.reseal(r.userID, accessColumn, token.Access))
			refresh = append(refresh, s.reseal(r.userID, refreshColumn, token.Refresh))
			audits = append(audits, &audit{userID: r.userID, operation: "rotate", success: true, details: `{"key": "` + s.ring.Current() + `"}`})
		}
		done.rotated = int64(len(users))
		if len(users) == 0 {
			return nil
		}
		batch := &pgx.Batch{}
		batch.Queue(resealQuery, users, access, refresh)
		queueAudits(batch, audits)
		return tx.SendBatch(ctx, batch).Close()
	})
	return done, err
}

// reseal encrypts a token; an absent one stays absent.
func (s *Store) reseal(userID int32, column, plain string) string {
	if plain == "" {
		return ""
	}
	return s.ring.Seal(place(userID, column), plain)
}
