package activityfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// jsonText reads JSON byte by byte, counts lines, and keeps up to
// maxRecordBytes of the current element.
type jsonText struct {
	source  *source
	line    int
	element []byte
	open    []byte // expected closing brackets, innermost last
	tooLong bool
}

// maxDepth bounds the nesting of brackets; an activity has none.
const maxDepth = 1000

// begin starts a new element.
func (t *jsonText) begin() {
	t.element, t.open, t.tooLong = t.element[:0], t.open[:0], false
}

// peek skips white space and returns the next byte without taking it. io.EOF is
// the end of the file; any other error needs no more context.
func (t *jsonText) peek() (byte, error) {
	for {
		c, err := t.take()
		if err != nil {
			return 0, err
		}
		if !isBlank(c) {
			return c, t.source.data.UnreadByte()
		}
	}
}

// skip takes the byte that peek has just returned.
func (t *jsonText) skip() { _, _ = t.take() }

func (t *jsonText) take() (byte, error) {
	c, err := t.source.data.ReadByte()
	switch {
	case errors.Is(err, io.EOF):
		return 0, io.EOF
	case err != nil:
		return 0, fmt.Errorf("read %s:%d: %w", t.source.name, t.line, err)
	case c == '\n':
		t.line++
	}
	return c, nil
}

// value takes one element: brackets with their content, a string, or everything
// up to the next delimiter.
func (t *jsonText) value() ([]byte, error) {
	c, err := t.keep()
	switch {
	case err != nil:
		return nil, err
	case c == '"':
		err = t.keepString()
		return t.result(err)
	case c == '{' || c == '[':
		t.open = append(t.open, closing(c))
		return t.rest()
	}
	for {
		c, err := t.take()
		if errors.Is(err, io.EOF) {
			return t.result(nil)
		}
		if err != nil {
			return nil, err
		}
		if isBlank(c) || c == ',' || c == ']' || c == '}' {
			if c == '\n' {
				t.line--
			}
			return t.result(t.source.data.UnreadByte())
		}
		t.append(c)
	}
}

// firstKey takes an object up to and including its first key, which may be missing.
func (t *jsonText) firstKey() (key string, err error) {
	if _, err = t.keep(); err != nil {
		return "", err
	}
	t.open = append(t.open, '}')
	c, err := t.peek()
	if err != nil {
		return "", t.cutOff(err)
	}
	if c != '"' {
		return "", nil
	}
	if _, err = t.keep(); err == nil {
		err = t.keepString()
	}
	if err != nil {
		return "", err
	}
	_ = json.Unmarshal(t.element[1:], &key) // if malformed it is not "activities", and the object is refused later
	return key, nil
}

// rest takes the element up to the bracket that closes it.
func (t *jsonText) rest() ([]byte, error) {
	for len(t.open) > 0 {
		c, err := t.keep()
		if err != nil {
			return nil, err
		}
		switch c {
		case '"':
			err = t.keepString()
		case '{', '[':
			if len(t.open) == maxDepth {
				return nil, t.fault("brackets are nested deeper than %d", maxDepth)
			}
			t.open = append(t.open, closing(c))
		case '}', ']':
			due := t.open[len(t.open)-1]
			if c != due {
				return nil, t.fault("expected %q, got %q", due, c)
			}
			t.open = t.open[:len(t.open)-1]
		}
		if err != nil {
			return nil, err
		}
	}
	return t.result(nil)
}

// keepString takes the rest of a string after its opening quote. A line break
// within it is an error: it means that the closing quote is missing, and
// everything up to the next quote would be mistaken for text.
func (t *jsonText) keepString() error {
	for {
		c, err := t.keep()
		if err == nil && c == '\\' {
			_, err = t.keep()
			c = 0
		}
		switch {
		case err != nil:
			return err
		case c == '\n':
			t.line--
			return t.fault("a string must not go on over the end of the line")
		case c == '"':
			return nil
		}
	}
}

// keep takes a byte that must be there.
func (t *jsonText) keep() (byte, error) {
	c, err := t.take()
	if err != nil {
		return 0, t.cutOff(err)
	}
	t.append(c)
	return c, nil
}

func (t *jsonText) append(c byte) {
	if t.tooLong = t.tooLong || len(t.element) == maxRecordBytes; !t.tooLong {
		t.element = append(t.element, c)
	}
}

func (t *jsonText) result(err error) ([]byte, error) {
	if err == nil && t.tooLong {
		err = errTooLong
	}
	return t.element, err
}

func (t *jsonText) cutOff(err error) error {
	if errors.Is(err, io.EOF) {
		return t.fault("the file ends within an activity")
	}
	return err
}

// fault returns a final error, after which elements can no longer be separated.
func (t *jsonText) fault(format string, args ...any) error {
	return fmt.Errorf("%s:%d: malformed JSON: %w", t.source.name, t.line, fmt.Errorf(format, args...))
}

func closing(bracket byte) byte {
	if bracket == '{' {
		return '}'
	}
	return ']'
}
