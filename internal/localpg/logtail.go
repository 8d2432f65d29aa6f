package localpg

import (
	"bytes"
	"strings"
)

// An error message shows no more of the log than this.
const (
	tailBytes = 8 << 10
	tailLines = 20
)

// logSize returns where the log ends now.
func (d *directory) logSize() int64 {
	info, err := d.log.Stat()
	if err != nil {
		return 0
	}
	return info.Size()
}

// logSince returns the last lines of the log written after offset. It reads an
// open file, so it also works when the directory has been removed.
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
