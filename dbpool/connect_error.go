package dbpool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// connectError is a pgconn.ConnectError with a shorter text.
type connectError struct {
	text string
	err  error
}

// Error implements error.
func (e *connectError) Error() string { return e.text }

// Unwrap returns the original error.
func (e *connectError) Unwrap() error { return e.err }

// Concise reduces the text of a connection error to its reasons, each once, and returns
// any other error as it is. pgconn's text repeats the address, user and database, which
// callers name already, and has a reason for each address of a name and each kind of
// encryption. Of the attempts at one address only the last counts, because falling back
// from the others is by design.
func Concise(err error) error {
	var failed *pgconn.ConnectError
	if !errors.As(err, &failed) {
		return err
	}
	attempts := []error{failed.Unwrap()}
	var joined interface{ Unwrap() []error }
	if errors.As(failed.Unwrap(), &joined) {
		attempts = joined.Unwrap()
	}
	several := severalServers(failed.Config)
	var reasons []string
	for i, attempt := range attempts {
		reason, address := connectReason(attempt, failed.Config), attemptedAddress(attempt)
		if i+1 < len(attempts) && address != "" && address == attemptedAddress(attempts[i+1]) {
			continue
		}
		if several && address != "" {
			reason = address + ": " + reason
		}
		if !slices.Contains(reasons, reason) {
			reasons = append(reasons, reason)
		}
	}
	return &connectError{strings.Join(reasons, "; "), err}
}

// attemptedAddress returns the address at the beginning of an attempt's text,
// "" if it has none.
func attemptedAddress(attempt error) string {
	address, _, ok := strings.Cut(attempt.Error(), " (")
	if !ok || strings.Contains(address, " ") {
		return ""
	}
	return address
}

// connectReason returns why one attempt failed. pgconn wraps the reason with the address.
func connectReason(attempt error, c *pgconn.Config) string {
	var (
		server *pgconn.PgError
		name   *net.DNSError
		system syscall.Errno
	)
	switch {
	case errors.As(attempt, &server):
		return server.Error()
	case errors.As(attempt, &name):
		return (&net.DNSError{Err: name.Err, Name: name.Name}).Error()
	case errors.As(attempt, &system):
		return system.Error()
	case errors.Is(attempt, context.DeadlineExceeded):
		return noAnswer(c.ConnectTimeout)
	}
	if inner := errors.Unwrap(attempt); inner != nil {
		return inner.Error()
	}
	return attempt.Error()
}

func noAnswer(within time.Duration) string { return fmt.Sprintf("no answer within %v", within) }
