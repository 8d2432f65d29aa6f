package cli

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// numeric matches the cells of a column of numbers: a count, "3 of 40", a decimal, an id,
// or a dash for none.
var numeric = regexp.MustCompile(`^(-|[≈~≥]?-?[0-9][0-9,.]*%?( of [0-9]+)?)$`)

// WriteTable prints rows under a header, cells separated by tabs. Columns of numbers
// are aligned to the right. On a terminal no line is wider than the terminal. Colors
// do not count.
func WriteTable(w io.Writer, header string, rows []string) error {
	lines := make([][]string, 0, 1+len(rows))
	for _, line := range append([]string{header}, rows...) {
		lines = append(lines, strings.Split(line, "\t"))
	}
	columns := make([]column, len(lines[0]))
	for i := range columns {
		columns[i] = newColumn(lines, i)
	}
	terminal, narrow := TerminalWidth(w)
	for _, cells := range lines {
		var line strings.Builder
		for i, cell := range cells {
			gap := ""
			if i > 0 {
				gap = "  "
			}
			line.WriteString(gap + columns[min(i, len(columns)-1)].align(cell))
		}
		text := strings.TrimRight(line.String(), " ")
		if narrow {
			text = clipped(text, terminal)
		}
		if _, err := fmt.Fprintln(w, text); err != nil {
			return err
		}
	}
	return nil
}

// Rows formats each element as a row of a table.
func Rows[T any](all []T, format func(T) string) []string {
	rows := make([]string, len(all))
	for i, one := range all {
		rows[i] = format(one)
	}
	return rows
}

type column struct {
	width   int
	numbers bool
}

// newColumn returns column i of a header and its rows.
func newColumn(lines [][]string, i int) column {
	c := column{numbers: len(lines) > 1}
	for n, cells := range lines {
		if i >= len(cells) {
			continue
		}
		cell := plain(cells[i])
		c.width = max(c.width, utf8.RuneCountInString(cell))
		c.numbers = c.numbers && (n == 0 || numeric.MatchString(cell))
	}
	return c
}

func (c column) align(cell string) string {
	padding := strings.Repeat(" ", max(0, c.width-utf8.RuneCountInString(plain(cell))))
	if c.numbers {
		return padding + cell
	}
	return cell + padding
}

// clipped cuts a line off at the width of the terminal. Colors do not count, and the
// sequences that end them are kept.
func clipped(line string, width int) string {
	if width < 1 || utf8.RuneCountInString(plain(line)) <= width {
		return line
	}
	var short strings.Builder
	room := width - 1
	write := func(text string) {
		runes := []rune(text)
		short.WriteString(string(runes[:min(room, len(runes))]))
		room -= min(room, len(runes))
	}
	from := 0
	for _, at := range colored.FindAllStringIndex(line, -1) {
		write(line[from:at[0]])
		short.WriteString(line[at[0]:at[1]])
		from = at[1]
	}
	write(line[from:])
	return short.String() + "…"
}

// TerminalWidth returns the width of w; false if w is not a terminal.
func TerminalWidth(w any) (int, bool) {
	f, ok := w.(*os.File)
	if !ok || !IsTerminal(f) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	return width, err == nil
}

// OneLine returns foreign text as one line without control characters, safe to print in a
// table.
func OneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }), " ")
}
