package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// maxHelpWidth is the max width that is easy to read, for wider terminals and pagers.
const maxHelpWidth = 100

// fitHelp wraps the descriptions and flags in the help of a command and its subcommands at
// the width of the terminal.
func fitHelp(c *cobra.Command, out io.Writer) {
	width := maxHelpWidth
	if terminal, ok := TerminalWidth(out); ok && terminal > 0 {
		width = min(width, terminal)
	}
	c.SetUsageTemplate(strings.ReplaceAll(c.UsageTemplate(), ".FlagUsages ", fmt.Sprintf(".FlagUsagesWrapped %d ", width)))
	fitDescriptions(c, width)
}

func fitDescriptions(c *cobra.Command, width int) {
	paragraphs := strings.Split(c.Long, "\n\n")
	for i, text := range paragraphs {
		paragraphs[i] = wrapped(text, width)
	}
	c.Long = strings.Join(paragraphs, "\n\n")
	for _, sub := range c.Commands() {
		fitDescriptions(sub, width)
	}
}

// wrapped breaks a paragraph between words.
func wrapped(text string, width int) string {
	var out strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case column > 0 && column+1+n > width:
			out.WriteString("\n")
			column = 0
		case column > 0:
			out.WriteString(" ")
			column++
		}
		out.WriteString(word)
		column += n
	}
	return out.String()
}
