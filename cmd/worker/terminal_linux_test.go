package main

import (
	"io"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/test/commandtest"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestMarksAreColoredOnATerminal: and nowhere else.
func TestMarksAreColoredOnATerminal(t *testing.T) {
	t.Setenv("DATABASE_URL", dbtest.New(t)) // without tables
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	terminal, printed := commandtest.Terminal(t, 80)
	for args, want := range map[string]string{
		"check":                 "\x1b[31mFAIL\x1b[0m  migrations: ",
		"check --json":          `"check":"migrations"`,
		"migrate status":        "\x1b[33mrun: worker migrate up\x1b[0m\n",
		"migrate status --json": `"worker":{"current":0,`,
	} {
		_ = run(t.Context(), strings.Fields(args), terminal, io.Discard) // check fails, because there are no tables
		got := printed()
		if !strings.Contains(got, want) || strings.Contains(args, "--json") && strings.Contains(got, "\x1b") {
			t.Errorf("worker %s on a terminal lacks %q, or has colors: %q", args, want, got)
		}
		if got := worker(t, strings.Fields(args)...); strings.Contains(got.stdout, "\x1b") {
			t.Errorf("worker %s into a pipe has colors: %q", args, got.stdout)
		}
	}
}
