// Package tokens stores the tokens with which users let the application read
// their activities. They are encrypted, saved many at a time with their audit
// rows, and refreshed by one process at a time.
//
// Rules. An older token never overwrites a newer one from the provider: a save after a
// refresh names the refresh token that was used, which is compared under the row's lock.
// A token that does not decrypt is never overwritten. Rows are locked in ascending order
// of users. No token appears in an error, a log, an audit row or a printed value.
package tokens

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
)

// Store reads and writes tokens. Its methods may be called concurrently.
type Store struct {
	pool  *dbpool.Pool
	ring  *Keyring
	river queue.Schema
}

// New returns a store over a migrated database.
func New(pool *dbpool.Pool, ring *Keyring, riverSchema string) *Store {
	return &Store{pool: pool, ring: ring, river: queue.Schema(riverSchema)}
}

// Token has the stored tokens of a user. It prints without its secrets.
type Token struct {
	UserID      int32
	Access      string
	Refresh     string
	ExpiresAt   time.Time // of Access; zero if unknown
	Reauthorize Reason    // why the user has to authorize again; empty if they need not
}

// Format implements fmt.Formatter.
func (t Token) Format(s fmt.State, _ rune) { _, _ = fmt.Fprintf(s, "token of user %d", t.UserID) }

// Reason is why a user has to authorize the application again.
type Reason string

// Reasons, as in user_tokens.reauthorize_reason.
const (
	// Refused: the provider refuses the refresh token. Most likely the user revoked the
	// authorization.
	Refused Reason = "refused"
	// AnswerLost: the provider refuses the refresh token after an earlier refresh with it
	// whose answer was never stored, because a worker died or the answer was cut off. The
	// tokens of that answer are lost.
	AnswerLost Reason = "answer_lost"
)

// UnreadableError says that a user's stored tokens do not decrypt. They are left unchanged.
type UnreadableError struct {
	UserID int32
	Column string
	Cause  error
}

// Error implements error.
func (e *UnreadableError) Error() string {
	return fmt.Sprintf("%s of user %d: %s", e.Column, e.UserID, e.Cause)
}

// Unwrap returns the cause, one of the keyring's errors.
func (e *UnreadableError) Unwrap() error { return e.Cause }

// The two columns that are encrypted.
const (
	accessColumn  = "access_token"
	refreshColumn = "refresh_token"
)

// place returns what a ciphertext is bound to: a user and a column. It is part of the
// format in docs/python.md.
func place(userID int32, column string) string {
	return "user_tokens/" + strconv.Itoa(int(userID)) + "/" + column
}

// tokenHash identifies a refresh token without revealing it: tokens are long and random.
func tokenHash(refresh string) string {
	sum := sha256.Sum256([]byte(refresh))
	return hex.EncodeToString(sum[:])
}

// rowColumns are the columns that are read, in the order of row.targets.
const rowColumns = `user_id::int, coalesce(access_token, ''), coalesce(refresh_token, ''), coalesce({schema}.token_expiry_seconds(expires_at), 0),
	saved_at, coalesce(refresh_by, ''), refresh_until, coalesce(refresh_hash, ''), CASE WHEN reauthorize_since IS NOT NULL THEN coalesce(reauthorize_reason, 'refused') ELSE '' END`

// row is a row of user_tokens as stored.
type row struct {
	userID          int32
	access, refresh string // encrypted or plaintext
	expires         int64  // seconds since 1970, 0 if unknown
	savedAt         *time.Time
	leaseBy         string
	leaseUntil      *time.Time
	leaseHash       string
	reauthorize     Reason
}

func (r *row) targets() []any {
	return []any{&r.userID, &r.access, &r.refresh, &r.expires, &r.savedAt, &r.leaseBy, &r.leaseUntil, &r.leaseHash, &r.reauthorize}
}

// open decrypts a row.
func (s *Store) open(r *row) (Token, error) {
	t := Token{UserID: r.userID, Reauthorize: r.reauthorize}
	if r.expires > 0 {
		t.ExpiresAt = time.Unix(r.expires, 0)
	}
	for _, column := range []struct {
		name, stored string
		plain        *string
	}{{accessColumn, r.access, &t.Access}, {refreshColumn, r.refresh, &t.Refresh}} {
		plain, err := s.ring.Open(place(r.userID, column.name), column.stored)
		if err != nil {
			return Token{UserID: r.userID}, &UnreadableError{UserID: r.userID, Column: column.name, Cause: err}
		}
		*column.plain = plain
	}
	return t, nil
}
