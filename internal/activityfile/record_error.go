package activityfile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// RecordError is a fault in one record. The records after it can still be read.
type RecordError struct {
	File   string
	Line   int    // 1-based line in which the record starts
	Record int    // 1-based number of the element in a JSON array, otherwise 0
	Field  string // empty if the record as a whole, or several fields, are invalid
	Err    error
}

// Error names the place as compilers do: "activities.csv:17: distance: …".
func (e *RecordError) Error() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s:%d: ", e.File, e.Line)
	if e.Record > 0 {
		fmt.Fprintf(&s, "activity %d: ", e.Record)
	}
	if e.Field != "" {
		s.WriteString(e.Field + ": ")
	}
	s.WriteString(e.Err.Error())
	return s.String()
}

// Unwrap returns the fault without the position.
func (e *RecordError) Unwrap() error { return e.Err }

// ErrOtherUser is the fault of an activity whose user differs from Options.UserID.
// Callers that skip invalid records must stop at it, because either the file or the user
// is not the intended one.
var ErrOtherUser = errors.New("belongs to another user")

// fieldFault is a fault with its field; the parser adds the position.
type fieldFault struct {
	field string
	err   error
}

func (f fieldFault) Error() string { return f.field + ": " + f.err.Error() }
func (f fieldFault) Unwrap() error { return f.err }

func faultf(field, format string, args ...any) error {
	return fieldFault{field, fmt.Errorf(format, args...)}
}

// recordError adds the position to a fault and separates its field. It returns nil and
// errUnloaded unchanged.
func recordError(file string, line, record int, err error) error {
	if err == nil || errors.Is(err, errUnloaded) {
		return err
	}
	e := &RecordError{File: file, Line: line, Record: record, Err: err}
	if fault, ok := errors.AsType[fieldFault](err); ok {
		e.Field, e.Err = fault.field, fault.err
		return e
	}
	// Faults of package jobs have the form "field: …", several of them on one line.
	field, what, found := strings.Cut(err.Error(), ": ")
	if found && isColumnName(field) && countFaults(err) == 1 {
		e.Field, e.Err = field, errors.New(what)
	}
	return e
}

func isColumnName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

func countFaults(err error) int {
	for ; err != nil; err = errors.Unwrap(err) {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			return len(joined.Unwrap())
		}
	}
	return 1
}

// fieldName returns a key of the input in a form for messages.
func fieldName(key string) string {
	if isColumnName(key) {
		return clip(key)
	}
	return strconv.Quote(clip(key))
}

// oneLine returns a JSON value of the input in a form for messages.
func oneLine(value []byte) string {
	return clip(strings.ToValidUTF8(strings.Join(strings.Fields(string(value)), " "), "�"))
}

const maxClipped = 60

// clip shortens an invalid value, so that a message stays on one line.
func clip(s string) string {
	if len(s) <= maxClipped {
		return s
	}
	return strings.ToValidUTF8(s[:maxClipped], "") + "…"
}
