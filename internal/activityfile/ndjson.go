package activityfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/trainingmonkey/worker/jobs"
)

// maxRecordBytes bounds the memory of one record. An activity with every field
// takes two kilobytes.
const maxRecordBytes = 1 << 20

var errTooLong = fmt.Errorf("the record is longer than %d MiB", maxRecordBytes>>20)

// lineParser reads one activity from every line that is not blank.
type lineParser struct {
	source *source
	decode func(record []byte) (jobs.Activity, error)
	line   int
	buffer []byte
}

func (p *lineParser) next() (jobs.Activity, error) {
	for {
		line, err := p.readLine()
		p.line++
		switch {
		case errors.Is(err, errTooLong):
			return jobs.Activity{}, recordError(p.source.name, p.line, 0, err)
		case errors.Is(err, io.EOF):
			return jobs.Activity{}, io.EOF
		case err != nil:
			return jobs.Activity{}, fmt.Errorf("read %s:%d: %w", p.source.name, p.line, err)
		}
		line = bytes.Trim(line, blanks)
		if len(line) == 0 {
			continue
		}
		activity, err := p.decode(line)
		return activity, recordError(p.source.name, p.line, 0, err)
	}
}

// readLine returns the next line, valid until the next call. A line that is too long is
// read to its end and discarded.
func (p *lineParser) readLine() ([]byte, error) {
	p.buffer = p.buffer[:0]
	length := 0
	for {
		chunk, err := p.source.data.ReadSlice('\n')
		length += len(chunk)
		if length <= maxRecordBytes {
			p.buffer = append(p.buffer, chunk...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		case length > maxRecordBytes:
			return nil, errTooLong
		case err != nil && length == 0:
			return nil, io.EOF
		default:
			return p.buffer, nil
		}
	}
}
