package dbpool

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
)

// Fault classifies an error of the database: transient, caused by the data, or by the
// program. Every retry, bisection and snooze follows from this one classification;
// nothing else reads SQLSTATEs to decide what an error means for the jobs.
type Fault int

const (
	// Program is an error that neither a retry nor other data resolves: a missing table,
	// a refused permission, a bug. It is the default.
	Program Fault = iota
	// Transient is an error after which the same transaction may succeed when it runs
	// again.
	Transient
	// Data is a value that PostgreSQL refuses: one row of the statement is invalid, the
	// others are not.
	Data
)

// String returns the name of the fault as it appears in logs.
func (f Fault) String() string {
	switch f {
	case Transient:
		return "transient"
	case Data:
		return "data"
	default:
		return "program"
	}
}

// ErrRaced is returned by code that finds, within a transaction, that another transaction
// committed in between. The retry sees that commit, so the error is Transient.
var ErrRaced = errors.New("raced with another transaction")

// Classify classifies err, which may wrap the error of interest. err must not be nil.
func Classify(err error) Fault {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return classifySQLState(pgErr.Code)
	}
	if LostConnection(err) || errors.Is(err, ErrRaced) {
		return Transient
	}
	return Program
}

// InsufficientPrivilege is the SQLSTATE of a statement that the role is not
// permitted to run.
const InsufficientPrivilege = "42501"

// SQLState returns the code of an error of the server, and "" for any other error.
func SQLState(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code
	}
	return ""
}

// classifySQLState classifies by the classes in appendix A of the PostgreSQL
// manual, except for codes that differ from the rest of their class.
func classifySQLState(code string) Fault {
	switch code {
	case "40002": // integrity constraint violated at commit: a row is the cause
		return Data
	case "53400": // a configured limit: waiting does not help
		return Program
	case "55P03", // lock_timeout
		"57014",                   // statement_timeout, or a cancel from outside
		"57P01", "57P02", "57P03", // shutdown, crash, starting up
		"57P05",          // idle_session_timeout
		"25P03", "25P04", // idle in transaction, transaction_timeout
		"25006", // read-only: a standby that is about to be promoted
		"58030": // I/O error
		return Transient
	}
	if len(code) != 5 {
		return Program
	}
	switch code[:2] {
	case "08", // connection exception
		"40", // serialization failure, deadlock
		"53": // disk full, out of memory, too many connections
		return Transient
	case "22", // data exception
		"23", // integrity constraint violation
		"44", // WITH CHECK OPTION violation
		"P0": // raised by a trigger of the application
		return Data
	}
	return Program
}

// LostConnection reports whether err means that the server was not reached or did not
// answer in time, rather than that it answered with an error. After such an error the
// outcome of a COMMIT is unknown.
func LostConnection(err error) bool {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return strings.HasPrefix(pgErr.Code, "57P0") // the server announced that it shuts down
	}
	var netErr net.Error
	var connectErr *pgconn.ConnectError
	switch {
	case errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed),
		errors.Is(err, puddle.ErrNotAvailable),
		errors.As(err, &connectErr),
		errors.As(err, &netErr),
		pgconn.SafeToRetry(err),
		strings.Contains(err.Error(), "conn closed"): // pgconn has no exported error for it
		return true
	}
	return false
}
