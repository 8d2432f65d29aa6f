package tokens

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Operation is a change of a user's tokens, or a failed refresh. Each has an audit row
// in the same transaction. It prints without its secrets.
type Operation struct {
	UserID    int32
	Access    string
	Refresh   string
	ExpiresAt time.Time // of Access

	// Used, if set, is the refresh token that was exchanged for Access and Refresh. They
	// are only stored if it is still the stored one.
	Used string
	// Lease is the lease of the refresh; the operation ends it.
	Lease string
	// Failure, if not nil, says that a refresh failed, without tokens.
	Failure *Failure

	UserAgent string         // of this program, for the audit row
	Details   map[string]any // for the audit row, no secrets
}

// Failure is why a refresh has no tokens to store.
type Failure struct {
	Reason string // in words, for the audit row
	// AnswerMayBeLost says that the provider may have answered with new tokens
	// that did not arrive. It is stored with the refresh token that was used.
	AnswerMayBeLost bool
	// Reauthorize marks the user, unless another refresh token has been stored since.
	Reauthorize Reason
}

// Format implements fmt.Formatter.
func (op Operation) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "%s of user %d", op.name(), op.UserID)
}

// name is the value of token_audit_log.operation.
func (op *Operation) name() string {
	if op.Failure != nil || op.Used != "" {
		return "refresh"
	}
	return "save"
}

// Why an operation is refused; see also UnreadableError.
var (
	// ErrInvalid is wrapped by an error that names the field.
	ErrInvalid = errors.New("the operation is not valid")
	// ErrSuperseded: a newer refresh token has been stored since.
	ErrSuperseded = errors.New("the stored refresh token is not the one that was used")
	// ErrMissing: nothing is stored for the user any more.
	ErrMissing = errors.New("nothing is stored of the user")
	// ErrNotStored is wrapped by the database's error for one operation.
	ErrNotStored = errors.New("the database refuses it")
)

const maxTokenBytes = 1 << 16

var latestExpiry = time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)

func (op *Operation) validate() error {
	var faults []string
	fault := func(wrong bool, text string) {
		if wrong {
			faults = append(faults, text)
		}
	}
	fault(op.UserID <= 0, fmt.Sprintf("user_id: must be a positive integer, got %d", op.UserID))
	if op.Failure == nil {
		fault(op.Access == "" || len(op.Access) > maxTokenBytes, fmt.Sprintf("access_token: must have 1 to %d bytes, has %d", maxTokenBytes, len(op.Access)))
		fault(op.Refresh == "" || len(op.Refresh) > maxTokenBytes, fmt.Sprintf("refresh_token: must have 1 to %d bytes, has %d", maxTokenBytes, len(op.Refresh)))
		fault(op.ExpiresAt.Unix() <= 0 || !op.ExpiresAt.Before(latestExpiry), "expires_at: must lie between 1970 and the year 3000")
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrInvalid, strings.Join(faults, "; "))
}
