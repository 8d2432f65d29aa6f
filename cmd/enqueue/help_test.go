package main

import (
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestExamplesParse runs no example, but finds the command and reads the flags
// and arguments of every one in the help texts and in README.md.
func TestExamplesParse(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := examplesOf(t, rootCommand(streams{err: io.Discard}))
	for line := range strings.Lines(string(readme)) {
		if example, ok := strings.CutPrefix(line, "./"); ok {
			examples = append(examples, example)
		}
	}
	parsed := 0
	for _, example := range examples {
		if at := strings.Index(example, "| enqueue"); at >= 0 {
			example = example[at+2:]
		}
		words := strings.Fields(example)
		if words[0] != "enqueue" {
			continue
		}
		parsed++
		root := rootCommand(streams{err: io.Discard})
		c, rest, err := root.Find(words[1:])
		if err == nil {
			err = c.ParseFlags(rest)
		}
		if err == nil && c.Args != nil {
			err = c.Args(c, c.Flags().Args())
		}
		if err != nil || c == root {
			t.Errorf("example %q: command %q, %v", example, c.CommandPath(), err)
		}
	}
	if parsed < 8 {
		t.Errorf("only %d examples found", parsed)
	}
}

func examplesOf(t *testing.T, c *cobra.Command) (examples []string) {
	t.Helper()
	if c.Example == "" && c.Runnable() {
		t.Errorf("%s has no example", c.CommandPath())
	}
	for line := range strings.Lines(c.Example) {
		line, _, _ = strings.Cut(line, "#")
		examples = append(examples, strings.TrimSpace(line))
	}
	for _, sub := range c.Commands() {
		examples = append(examples, examplesOf(t, sub)...)
	}
	return examples
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"--help"}, {"help", "ingest"}, {"ingest", "--help"}, {"recalc", "-h"}, {"acwr", "--help"}} {
		enqueue(t, args...).want(t, 0, "Usage:\n  enqueue", "Examples:")
	}
}
