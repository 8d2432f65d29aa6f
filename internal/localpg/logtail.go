package localpg

import (
	"bytes"
	"strings"
)

// Limits of the part of the log in an error message.
const (
	tailBytes = 8 << 10
	tailLines = 20
)

// logSize returns the current size of the log.
func (d *directory) logSize() int64 {
	info, err := d.log.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// logSince returns the last lines of the log written after offset. It reads an
// open file, so it also works after the directory was removed.
func (d *directory) logSince(offset int64) string {
	if d.log == nil {
		return d.finalLog
	}
	b := make([]byte, tailBytes)
	n, _ := d.log.ReadAt(b, max(offset, d.logSize()-tailBytes))
	lines := bytes.Split(bytes.TrimSpace(b[:n]), []byte("\n"))
	lines = lines[max(0, len(lines)-tailLines):]
	return strings.ToValidUTF8(string(bytes.Join(lines, []byte("\n"))), "?")
}
