package commandtest

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// assignments match the environment in front of a command.
var assignments = regexp.MustCompile(`^(\w+=\S+ +)+`)

// pages have lines that run commands, which are examples too.
var pages = []string{"README.md", "docs/tokens.md"}

// Examples returns the examples in the help of a command and its subcommands, and the
// lines of the pages that run it, each once: without comments, environment and the path
// of the program. Every runnable command must have one. The calling package must be two
// directories below the module.
func Examples(t *testing.T, root *cobra.Command) []string {
	t.Helper()
	examples := helpExamples(t, root)
	for _, page := range pages {
		text, err := os.ReadFile("../../" + page)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			for _, path := range []string{"./", "go run ./cmd/"} {
				if command, ok := strings.CutPrefix(strings.TrimSpace(line), path); ok && strings.HasPrefix(command, root.Name()+" ") {
					examples = append(examples, command)
				}
			}
		}
	}
	slices.Sort(examples)
	return slices.Compact(examples)
}

func helpExamples(t *testing.T, c *cobra.Command) (examples []string) {
	t.Helper()
	if c.Example == "" && c.Runnable() {
		t.Errorf("%s has no example", c.CommandPath())
	}
	for line := range strings.Lines(c.Example) {
		line, _, _ = strings.Cut(line, "#")
		examples = append(examples, assignments.ReplaceAllString(strings.TrimSpace(line), ""))
	}
	for _, sub := range c.Commands() {
		examples = append(examples, helpExamples(t, sub)...)
	}
	return examples
}
