package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/trainingmonkey/worker/internal/overview"
)

// writeTable prints rows under a header; on a terminal no line is longer than
// it is wide. Columns are separated by tabs.
func writeTable(w io.Writer, header string, rows []string) error {
	var text bytes.Buffer
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, header)
	for _, row := range rows {
		_, _ = fmt.Fprintln(table, row)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	width, narrow := terminalWidth(w)
	for line := range strings.Lines(text.String()) {
		line = strings.TrimRight(line, " \n")
		if narrow {
			line = clipped(line, width)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// clipped cuts a line off at the width of the terminal.
func clipped(line string, width int) string {
	runes := []rune(line)
	if width < 1 || len(runes) <= width {
		return line
	}
	return string(runes[:width-1]) + "…"
}

// oneLine makes text from outside one cell of a table: no line breaks, and
// nothing that a terminal would obey.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }), " ")
}

// orDash is the number, or a dash for none.
func orDash(n *int64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

// ago is how long something is past.
func ago(t time.Time) string { return overview.Spoken(max(0, time.Since(t))) }

// writeNewest prints a listing of the newest things of a kind, and says so when
// there are none or may be more than the most that was asked for.
func writeNewest(io streams, things, header string, rows []string, most int) error {
	if len(rows) == 0 {
		_, err := fmt.Fprintln(io.out, "no such "+things)
		return err
	}
	if err := writeTable(io.out, header, rows); err != nil {
		return err
	}
	if len(rows) == most {
		_, _ = fmt.Fprintln(io.err, "there may be more; see --limit")
	}
	return nil
}
