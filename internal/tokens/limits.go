package tokens

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Limits are the numbers of requests that all processes together may send to the
// provider, per quarter of an hour and per day in UTC. The counts are in the database,
// because in memory they would cover one process only and be lost in a restart.
type Limits struct {
	Quarter, Day int
}

// reserveQuery counts one request if the limits allow it. It checks the row that it writes,
// so that concurrent requests wait for each other and are all counted.
const reserveQuery = `
-- name: token_reserve_requests
UPDATE token_provider AS p
SET quarter = w.quarter, quarter_used = CASE WHEN p.quarter = w.quarter THEN p.quarter_used ELSE 0 END + 1,
    day = w.day, day_used = CASE WHEN p.day = w.day THEN p.day_used ELSE 0 END + 1
FROM (SELECT date_bin('15 minutes', statement_timestamp(), 'epoch') AS quarter, date_trunc('day', statement_timestamp(), 'UTC') AS day) AS w
WHERE p.paused_until <= statement_timestamp()
  AND (p.quarter <> w.quarter OR p.quarter_used < $1)
  AND (p.day <> w.day OR p.day_used < $2)`

// roomAgainQuery returns in how many seconds the limits allow a request again.
const roomAgainQuery = `
-- name: token_room_again
SELECT extract(epoch FROM greatest(p.paused_until,
	CASE WHEN p.quarter_used >= $1 THEN p.quarter + interval '15 minutes' END,
	CASE WHEN p.day_used >= $2 THEN p.day + interval '1 day' END) - statement_timestamp())::float8
FROM token_provider AS p`

// minWait is the min wait returned, because the computed one may be 0.
const minWait = 100 * time.Millisecond

// reserve returns 0 if the request may be sent, otherwise how long to wait.
func (l Limits) reserve(ctx context.Context, tx pgx.Tx) (time.Duration, error) {
	done, err := tx.Exec(ctx, reserveQuery, l.Quarter, l.Day)
	if err != nil || done.RowsAffected() == 1 {
		return 0, err
	}
	var seconds float64
	if err := tx.QueryRow(ctx, roomAgainQuery, l.Quarter, l.Day).Scan(&seconds); err != nil {
		return 0, err
	}
	return max(time.Duration(seconds*float64(time.Second)), minWait), nil
}

const pauseQuery = `
-- name: token_pause_provider
UPDATE token_provider SET paused_until = greatest(paused_until, clock_timestamp() + $1::interval)`

// Pause stops the requests of all processes to the provider for a while.
func (s *Store) Pause(ctx context.Context, d time.Duration) error {
	err := s.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, pauseQuery, d)
		return err
	})
	if err != nil {
		return fmt.Errorf("pause refreshing tokens: %w", err)
	}
	return nil
}
