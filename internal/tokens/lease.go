package tokens

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Wanted says which tokens a refresh is wanted for.
type Wanted struct {
	// Within: tokens that expire within this time; 0: whenever they expire.
	Within time.Duration
	// Since is when it was wanted: tokens that were stored later are what was
	// wanted, whoever refreshed them.
	Since time.Time
}

// Lease is the sole right to refresh a user's tokens for a while.
type Lease struct {
	Refresh string // the token to show to the provider
	// AnswerLost: the same token was shown to the provider before and what it
	// answered is not known.
	AnswerLost bool
}

// Format implements fmt.Formatter.
func (l Lease) Format(s fmt.State, _ rune) { _, _ = fmt.Fprint(s, "lease") }

// Standing is how it stands with a user's tokens when a refresh is wanted.
type Standing int

// Standings. Only Leased comes with a lease.
const (
	Leased  Standing = iota
	Fresh            // they are as wanted already
	Busy             // somebody else is refreshing them
	Limited          // the provider must not be asked now
	Marked           // the user has to authorize again
	Absent           // nothing is stored of the user, or no refresh token
)

// leaseQuery is lockQuery for one user, with the clock that leases go by.
const leaseQuery = `
-- name: token_lease
SELECT ` + rowColumns + `, clock_timestamp() FROM user_tokens WHERE user_id = $1 FOR UPDATE`

// takeLeaseQuery runs under the lock of leaseQuery.
const takeLeaseQuery = `
-- name: token_take_lease
UPDATE user_tokens SET refresh_by = $2, refresh_until = clock_timestamp() + $3::interval, refresh_hash = $4
WHERE user_id = $1`

// errLimited undoes a lease that the limits do not allow.
var errLimited = errors.New("limited")

// Lease takes the right to refresh a user's tokens until the time is over, and a
// place within the provider's limits with it, both or neither. by names the
// lease and is not used twice. wait is how long the user is Busy or Limited at
// most. A user whose tokens do not decrypt is an UnreadableError.
func (s *Store) Lease(ctx context.Context, userID int32, wanted Wanted, by string, lasting time.Duration, limits Limits) (lease Lease, standing Standing, wait time.Duration, err error) {
	err = s.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var r row
		var now time.Time
		err := tx.QueryRow(ctx, s.in(leaseQuery), userID).Scan(append(r.targets(), &now)...)
		if errors.Is(err, pgx.ErrNoRows) {
			standing = Absent
			return nil
		}
		if err != nil {
			return err
		}
		token, err := s.open(&r)
		if err != nil {
			return err
		}
		if standing, wait = r.standing(token, wanted, now); standing != Leased {
			return nil
		}
		lease = Lease{Refresh: token.Refresh, AnswerLost: r.leaseHash == hashOf(token.Refresh)}
		if _, err := tx.Exec(ctx, takeLeaseQuery, userID, by, lasting, hashOf(token.Refresh)); err != nil {
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
		return Lease{}, standing, 0, unreadable
	case err != nil:
		return Lease{}, standing, 0, fmt.Errorf("lease the tokens of user %d: %w", userID, err)
	}
	return lease, standing, wait, nil
}

func (r *row) standing(token Token, wanted Wanted, now time.Time) (_ Standing, wait time.Duration) {
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
