package tokens

import (
	"encoding/json"
	"errors"
	"maps"
)

// state is a user's row, locked, to which the operations of a batch are applied
// in memory, one after the other.
type state struct {
	row
	exists     bool
	token      Token
	unreadable error
	saved      bool // it has tokens from the batch
	changed    bool
}

// audit is a row of token_audit_log.
type audit struct {
	userID    int32
	operation string
	success   bool
	agent     string // "" for NULL
	details   string // JSON
	missing   bool   // refused because nothing is stored for the user
}

// decide applies the operation to the state. A refusal concerns this operation only.
// again says that an earlier try of the batch may have been committed: its changes are
// then neither stored nor audited twice.
func (s *Store) decide(st *state, op *Operation, again bool) (_ *audit, refusal error) {
	switch err := op.validate(); {
	case err != nil && op.UserID <= 0:
		return nil, err // it names no user, so there is no audit row
	case err != nil:
		refusal = err
	case st.unreadable != nil:
		refusal = st.unreadable
	case op.Failure != nil:
		refusal = st.fail(op)
	case st.alreadyHas(op, again):
		return nil, nil
	case op.Used != "" && !st.exists:
		refusal = ErrMissing
	case op.Used != "" && st.token.Refresh != op.Used:
		refusal = ErrSuperseded
	default:
		s.set(st, op)
	}
	return newAudit(op, refusal), refusal
}

// alreadyHas reports whether the row already has the operation's tokens and its lease has
// ended, because an earlier try was committed although its answer was lost.
func (st *state) alreadyHas(op *Operation, again bool) bool {
	same := st.exists && st.token.Access == op.Access && st.token.Refresh == op.Refresh
	if op.Used == "" {
		return same && again
	}
	return same && (op.Lease == "" || st.leaseBy != op.Lease)
}

// set stores the tokens and clears the lease and the reauthorization mark of the
// previous ones.
func (s *Store) set(st *state, op *Operation) {
	st.userID, st.exists, st.saved, st.changed = op.UserID, true, true, true
	st.token = Token{UserID: op.UserID, Access: op.Access, Refresh: op.Refresh, ExpiresAt: op.ExpiresAt}
	st.access = s.ring.Seal(place(op.UserID, accessColumn), op.Access)
	st.refresh = s.ring.Seal(place(op.UserID, refreshColumn), op.Refresh)
	st.expires = op.ExpiresAt.Unix()
	st.leaseBy, st.leaseUntil, st.leaseHash, st.reauthorize = "", nil, "", ""
}

// fail ends the refresh's own lease, if it still has it, and marks the user.
func (st *state) fail(op *Operation) error {
	if !st.exists {
		return ErrMissing
	}
	if op.Lease != "" && st.leaseBy == op.Lease {
		st.leaseBy, st.leaseUntil, st.changed = "", nil, true
		if !op.Failure.AnswerMayBeLost {
			st.leaseHash = ""
		}
	}
	if op.Failure.Reauthorize == "" {
		return nil
	}
	if st.token.Refresh != op.Used {
		return ErrSuperseded
	}
	st.reauthorize, st.changed = op.Failure.Reauthorize, true
	return nil
}

func newAudit(op *Operation, refusal error) *audit {
	details := map[string]any{}
	maps.Copy(details, op.Details)
	if f := op.Failure; f != nil {
		details["reason"] = f.Reason
		if f.Reauthorize != "" && refusal == nil {
			details["needs_reauthorization"] = f.Reauthorize
		}
		if f.AnswerMayBeLost {
			details["answer_may_be_lost"] = true
		}
	}
	if refusal != nil {
		details["refused"] = refusal.Error()
	}
	text, err := json.Marshal(details)
	if err != nil { // a caller's value without JSON must not prevent the audit row
		text = []byte(`{}`)
	}
	return &audit{
		userID: op.UserID, operation: op.name(), success: refusal == nil && op.Failure == nil, missing: errors.Is(refusal, ErrMissing),
		agent: op.UserAgent, details: string(text),
	}
}
