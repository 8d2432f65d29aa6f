package tokens

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Wanted says which tokens are to be refreshed.
type Wanted struct {
	// Within selects tokens that expire within this time; 0 selects all.
	Within time.Duration
	// Since is the time of the request: tokens stored later satisfy it, no matter which
	// process refreshed them.
	Since time.Time
}

// Lease is the exclusive right to refresh a user's tokens for a limited time.
type Lease struct {
	Refresh string // the token to send to the provider
	// AnswerLost says that the same token was sent to the provider before, and that
	// answer is unknown.
	AnswerLost bool
}

// Format implements fmt.Formatter.
func (l Lease) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, "lease") }

// LeaseStatus is the outcome of a request for a lease.
type LeaseStatus int

// Only Leased comes with a lease.
const (
	Leased  LeaseStatus = iota
	Fresh               // the tokens are fresh enough
	Busy                // another process is refreshing them
	Limited             // the provider's limits allow no request now
	Marked              // the user has to authorize again
	Absent              // nothing is stored for the user, or no refresh token
)

// leaseQuery is lockQuery for one user, with the server's time, by which leases expire.
const leaseQuery = `
-- name: token_lease
SELECT ` + rowColumns + `, clock_timestamp() FROM user_tokens WHERE user_id = $1 FOR UPDATE`

// takeLeaseQuery runs under the lock of leaseQuery.
const takeLeaseQuery = `
-- name: token_take_lease
UPDATE user_tokens SET refresh_by = $2, refresh_until = clock_timestamp() + $3::interval, refresh_hash = $4
WHERE user_id = $1`

// errLimited rolls back a lease that the limits do not allow.
var errLimited = errors.New("limited")

// Lease leases a user's tokens for the given time and reserves a request within the
// provider's limits, both or neither. by names the lease and must be unique. wait is the
// max time for which the user is Busy or Limited. For a user whose tokens do not decrypt
// the error is an *UnreadableError.
func (s *Store) Lease(ctx context.Context, userID int32, wanted Wanted, by string, lasting time.Duration, limits Limits) (lease Lease, status LeaseStatus, wait time.Duration, err error) {
	err = s.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var r row
		var now time.Time
		err := tx.QueryRow(ctx, s.river.SQL(leaseQuery), userID).Scan(append(r.targets(), &now)...)
		if errors.Is(err, pgx.ErrNoRows) {
			status = Absent
			return nil
		}
		if err != nil {
			return err
		}
		token, err := s.open(&r)
		if err != nil {
			return err
		}
		if status, wait = r.status(token, wanted, now); status != Leased {
			return nil
		}
		lease = Lease{Refresh: token.Refresh, AnswerLost: r.leaseHash == tokenHash(token.Refresh)}
		if _, err := tx.Exec(ctx, takeLeaseQuery, userID, by, lasting, tokenHash(token.Refresh)); err != nil {
			return err
		}
		if wait, err = limits.reserve(ctx, tx); err == nil && wait > 0 {
			err = errLimited
		}
		return err
	})
	switch unreadable := (*UnreadableError)(nil); {
	case errors.Is(err, errLimited):
		return Lease{}, Limited, wait, nil
	case errors.As(err, &unreadable):
		return Lease{}, status, 0, unreadable
	case err != nil:
		return Lease{}, status, 0, fmt.Errorf("lease the tokens of user %d: %w", userID, err)
	}
	return lease, status, wait, nil
}

func (r *row) status(token Token, wanted Wanted, now time.Time) (_ LeaseStatus, wait time.Duration) {
	switch {
	case token.Reauthorize != "":
		return Marked, 0
	case token.Refresh == "":
		return Absent, 0
	case r.savedAt != nil && r.savedAt.After(wanted.Since),
		wanted.Within > 0 && token.ExpiresAt.After(now.Add(wanted.Within)):
		return Fresh, 0
	case r.leaseUntil != nil && r.leaseUntil.After(now):
		return Busy, r.leaseUntil.Sub(now)
	}
	return Leased, 0
}
