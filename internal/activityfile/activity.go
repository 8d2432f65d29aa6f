package activityfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
)

// activityDecoder decodes the service's own JSON, in which fields are named
// after the columns of `activities`.
type activityDecoder struct{ Options }

func (d activityDecoder) decode(record []byte) (jobs.Activity, error) {
	if err := checkObject(record); err != nil {
		return jobs.Activity{}, err
	}
	stated, err := uniqueFields(record)
	if err != nil {
		return jobs.Activity{}, err
	}
	loadless := unloaded(stated)
	if record, err = d.setUser(record, stated["user_id"]); err != nil && !loadless {
		return jobs.Activity{}, err
	}
	activity, err := jobs.DecodeActivityStrictly(record)
	switch {
	case loadless:
		return withoutLoad(activity)
	case err != nil:
		return jobs.Activity{}, err
	}
	if !activity.Deleted {
		if err := complete(&activity, d.Options); err != nil {
			return jobs.Activity{}, err
		}
	}
	return activity, activity.Validate()
}

// checkObject checks that a record is a JSON object in valid UTF-8. encoding/json would
// silently replace invalid parts.
func checkObject(record []byte) error {
	if !json.Valid(record) {
		var syntax *json.SyntaxError
		if err := json.Unmarshal(record, new(any)); errors.As(err, &syntax) {
			return fmt.Errorf("malformed JSON: %w at byte %d: %q", err, syntax.Offset, around(record, syntax.Offset))
		}
		return errors.New("malformed JSON")
	}
	if record[0] != '{' {
		return fmt.Errorf("an activity must be a JSON object, got %s", oneLine(record))
	}
	if utf8.Valid(record) {
		return checkEscapes(record)
	}
	for key, value := range fields(record) {
		if !utf8.Valid(value) {
			return faultf(fieldName(key), "is not valid UTF-8: %+q", clip(string(value)))
		}
	}
	return errors.New("holds a field name that is not valid UTF-8")
}

// checkEscapes finds texts that were cut off within a character, so that one
// surrogate of a pair is left.
func checkEscapes(record []byte) error {
	if !bytes.Contains(record, []byte(`\u`)) {
		return nil
	}
	for key, value := range fields(record) {
		if hasHalfCharacter(value) {
			return faultf(fieldName(key), "holds half of a character, as a text cut inside an emoji does: %s", oneLine(value))
		}
	}
	return nil
}

// hasHalfCharacter reports whether a valid JSON value has the escape of an
// unpaired surrogate.
func hasHalfCharacter(value []byte) bool {
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' {
			continue
		}
		i++
		first, ok := escaped(value[i:])
		if !ok {
			continue
		}
		i += len("uFFFF") - 1
		if !utf16.IsSurrogate(first) {
			continue
		}
		rest := value[i+1:]
		second, ok := escaped(bytes.TrimPrefix(rest, []byte(`\`)))
		if !ok || rest[0] != '\\' || utf16.DecodeRune(first, second) == utf8.RuneError {
			return true
		}
		i += len(`\uFFFF`)
	}
	return false
}

// escaped parses an escape without its backslash: uFFFF.
func escaped(s []byte) (rune, bool) {
	if len(s) < 5 || s[0] != 'u' {
		return 0, false
	}
	code, err := strconv.ParseUint(string(s[1:5]), 16, 16)
	return rune(code), err == nil
}

// around returns the text before a syntax error. encoding/json reports the
// offset after the invalid byte.
func around(record []byte, offset int64) string {
	end := min(int(offset), len(record))
	return strings.ToValidUTF8(string(record[max(end-20, 0):end]), "�")
}

// uniqueFields returns the fields of an object as they are written. A repeated
// field is an error, because encoding/json would silently take the last. Names
// are compared as encoding/json matches them, ignoring case.
func uniqueFields(object []byte) (map[string][]byte, error) {
	stated := make(map[string][]byte)
	for key, value := range fields(object) {
		folded := key
		if !isColumnName(key) {
			folded = strings.ToLower(strings.ToUpper(key)) // to encoding/json ſ and K also are s and k
		}
		if earlier, twice := stated[folded]; twice {
			return nil, faultf(fieldName(key), "is given twice, as %s and %s", oneLine(earlier), oneLine(value))
		}
		stated[folded] = value
	}
	return stated, nil
}

// unloaded reports whether the application would skip the activity, because its
// type has no training load and none is stated.
func unloaded(stated map[string][]byte) bool {
	var activityType string
	var load float64
	if len(stated["type"]) == 0 || json.Unmarshal(stated["type"], &activityType) != nil || trainingload.HasTrainingLoad(activityType) {
		return false
	}
	if value, ok := stated["total_load_miles"]; ok && json.Unmarshal(value, &load) != nil {
		return false
	}
	return load == 0 && string(stated["deleted"]) != "true"
}

// setUser writes Options.UserID into a record without a user.
func (d activityDecoder) setUser(record, stated []byte) ([]byte, error) {
	absent := len(stated) == 0 || string(stated) == "null"
	switch {
	case d.UserID == 0 && absent:
		return nil, faultf("user_id", "is required in every activity unless --user names one for the whole file")
	case d.UserID == 0:
		return record, nil
	case !absent:
		if id, err := strconv.ParseInt(string(stated), 10, 64); err == nil && id != int64(d.UserID) {
			return nil, faultf("user_id", "%w: is %d, but --user is %d", ErrOtherUser, id, d.UserID)
		}
		return record, nil
	}
	// A later field replaces an earlier one, so the field can be appended even after a
	// user_id that is null.
	body := bytes.TrimRight(record[:len(record)-1], blanks)
	with := make([]byte, 0, len(body)+24)
	with = append(with, body...)
	if len(body) > 1 {
		with = append(with, ',')
	}
	with = append(with, `"user_id":`...)
	with = strconv.AppendInt(with, int64(d.UserID), 10)
	return append(with, '}'), nil
}
