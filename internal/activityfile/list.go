package activityfile

import (
	"errors"
	"fmt"
	"io"

	"github.com/trainingmonkey/worker/jobs"
)

// listParser reads the elements of a JSON array one by one, or a single object in place
// of the array. It finds the end of an element by its brackets and leaves the content to
// the decoder, so that a malformed element does not affect the others, and the size of an
// element is bounded.
type listParser struct {
	text   jsonText
	decode func(record []byte) (jobs.Activity, error)

	state  listState
	closer string // what ends the list, from the inside out
	record int
}

type listState int

const (
	beforeList listState = iota
	beforeFirst
	behindElement
	behindList
)

func newListParser(s *source, decode func([]byte) (jobs.Activity, error)) *listParser {
	return &listParser{text: jsonText{source: s, line: 1}, decode: decode}
}

func (p *listParser) next() (jobs.Activity, error) {
	element, line, err := p.element()
	if err != nil && !errors.Is(err, errTooLong) {
		return jobs.Activity{}, err
	}
	var activity jobs.Activity
	if err == nil {
		activity, err = p.decode(element)
	}
	return activity, recordError(p.text.source.name, line, p.record, err)
}

// element returns the text of the next element and the line in which it starts,
// or io.EOF after the last.
func (p *listParser) element() (element []byte, line int, err error) {
	c, err := p.text.peek()
	if err != nil {
		return nil, 0, p.unexpectedEnd(err)
	}
	if p.state == beforeList {
		p.text.begin()
		if element, line, err = p.enter(c); element != nil || err != nil {
			return element, line, err
		}
		if c, err = p.text.peek(); err != nil {
			return nil, 0, p.unexpectedEnd(err)
		}
	}
	switch {
	case p.state == behindList:
		return nil, 0, p.text.fault("unexpected %q behind the end of the activities", c)
	case c == ']':
		return nil, 0, p.skipRest()
	case p.state == behindElement && c != ',':
		return nil, 0, p.text.fault("expected a comma or the end of the list behind activity %d, got %q", p.record, c)
	case p.state == behindElement:
		p.text.skip()
		if c, err = p.text.peek(); err != nil {
			return nil, 0, p.unexpectedEnd(err)
		}
	}
	if c == ',' || c == ']' || c == '}' || c == ':' {
		return nil, 0, p.text.fault("expected an activity, got %q", c)
	}
	p.state = behindElement
	p.record++
	p.text.begin()
	line = p.text.line
	element, err = p.text.value()
	return element, line, err
}

// enter advances to the first element of the list, or returns the only object of the file.
func (p *listParser) enter(c byte) (object []byte, line int, err error) {
	line = p.text.line
	switch c {
	case '[':
		p.text.skip()
		p.state, p.closer = beforeFirst, "]"
		return nil, 0, nil
	case '{':
	default:
		return nil, 0, p.text.fault("expected '[' or '{', got %q", c)
	}
	key, err := p.text.firstKey()
	if err != nil {
		return nil, 0, err
	}
	if key != "activities" {
		p.state = behindList
		object, err = p.text.rest()
		return object, line, err
	}
	for _, want := range []byte{':', '['} {
		if c, err = p.text.peek(); err != nil {
			return nil, 0, p.unexpectedEnd(err)
		}
		if c != want {
			return nil, 0, p.text.fault(`"activities" must be an array, got %q`, c)
		}
		p.text.skip()
	}
	p.state, p.closer = beforeFirst, "]}"
	return nil, 0, nil
}

// skipRest reads the end of the list and checks that nothing follows.
func (p *listParser) skipRest() error {
	for _, want := range []byte(p.closer) {
		c, err := p.text.peek()
		if err != nil {
			return p.unexpectedEnd(err)
		}
		if c != want {
			return p.text.fault(`expected %q behind "activities", which must stand alone, got %q`, want, c)
		}
		p.text.skip()
	}
	p.state = behindList
	c, err := p.text.peek()
	if err != nil {
		return p.unexpectedEnd(err)
	}
	return p.text.fault("unexpected %q behind the end of the activities", c)
}

// unexpectedEnd returns an error for an early end of the file.
func (p *listParser) unexpectedEnd(err error) error {
	switch {
	case !errors.Is(err, io.EOF):
		return err
	case p.state == behindList:
		return io.EOF
	case p.record == 0:
		return p.text.fault("the file ends before the first activity")
	}
	return fmt.Errorf("%w behind activity %d", p.text.fault("the file ends within the list"), p.record)
}
