package cli

import (
	"io"
	"regexp"
)

// Color is the color of a status word on a terminal.
type Color string

// Colors. The zero value is the color of the surrounding text.
const (
	Green  Color = "32" // all is well
	Yellow Color = "33" // an operator should know
	Red    Color = "31" // an operator has to act
)

// colored matches the sequences that Paint adds. Foreign text has none after OneLine.
var colored = regexp.MustCompile("\x1b\\[[0-9]+m")

// Paint returns the text in a color if stdout is a terminal that shows colors, and
// otherwise unchanged. Cells of tables may be painted.
func (p *Program) Paint(c Color, text string) string {
	if !p.colors || c == "" || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// states are the words that have a color of their own, wherever they are printed.
var states = map[string]Color{
	"alive": Green, "finished": Green, "up to date": Green,
	"retryable": Yellow, "cancelled": Yellow, "paused": Yellow,
	"discarded": Red, "dead": Red, "failed": Red,
}

// State paints the word for a state, if it has a color.
func (p *Program) State(word string) string { return p.Paint(states[word], word) }

// showsColors reports whether w is a terminal that shows colors and NO_COLOR is empty or
// unset (https://no-color.org).
func showsColors(w io.Writer, getenv func(string) string) bool {
	return IsTerminal(w) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

// plain returns the text without colors.
func plain(text string) string { return colored.ReplaceAllString(text, "") }
