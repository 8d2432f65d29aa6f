package main

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/test/commandtest"
)

var painted = regexp.MustCompile("\x1b\\[[0-9]+m")

// TestTerminalOf80Columns: states are in color and every column of the tables is shown;
// JSON and NO_COLOR have no colors.
func TestTerminalOf80Columns(t *testing.T) {
	pool := operated(t)
	execute(t, pool, `UPDATE river.river_queue SET paused_at = now() - interval '3 days' WHERE name = 'backfill'`)
	execute(t, pool, `UPDATE river.river_job SET state = 'completed', finalized_at = now() WHERE state IN ('retryable', 'scheduled')`)
	execute(t, pool, `INSERT INTO worker_processes (client_id, beat_at) VALUES ('worker-1', now()), ('worker-2', now() - interval '3 hours')`)
	execute(t, pool, `INSERT INTO acwr_backfills (state, planned) VALUES ('paused', true)`)
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	terminal, printed := commandtest.Terminal(t, 80)
	on := func(args ...string) string {
		t.Helper()
		var stderr bytes.Buffer
		if code := cli.ExitCode(run(t.Context(), args, strings.NewReader(""), terminal, &stderr), &stderr); code != 0 {
			t.Errorf("enqueue %v: exit code %d, %s", args, code, stderr.String())
		}
		return printed()
	}
	for args, want := range map[string][]string{
		"status": {
			"\x1b[31mLate\x1b[0m. ", "\x1b[33mwarning\x1b[0m: ", "\nnotice: ", "\x1b[33mpaused\x1b[0m 3 days ago", "DISCARDED\n",
			"\x1b[32malive\x1b[0m\n", "\x1b[31mdead\x1b[0m, last seen 3 h 0 min ago\n",
		},
		"jobs list":     {"\x1b[31mdiscarded\x1b[0m  1/1", "\x1b[33mcancelled\x1b[0m  1/25", " available  1/25"},
		"jobs show 8":   {"in queue ingest, \x1b[31mdiscarded\x1b[0m\n", "attempt 1 \x1b[31mfailed\x1b[0m at "},
		"backfill list": {"\x1b[33mpaused\x1b[0m", " AGE\n", "ms\n"},
		"rejects list":  {"3 × \x1b[33mnot_storable\x1b[0m, the newest "},
	} {
		got := on(strings.Fields(args)...)
		for _, words := range want {
			if !strings.Contains(got, words) {
				t.Errorf("enqueue %s lacks %q:\n%q", args, words, got)
			}
		}
		if args == "status" {
			_, tables, _ := strings.Cut(got, "\n\n")
			got = tables // above the tables are sentences
		}
		for line := range strings.Lines(painted.ReplaceAllString(got, "")) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 && !strings.Contains(line, "for the athlete") {
				t.Errorf("enqueue %s: a line of %d columns: %s", args, n, line)
			}
		}
		t.Setenv("NO_COLOR", "1")
		if got := on(strings.Fields(args)...); strings.Contains(got, "\x1b") {
			t.Errorf("enqueue %s with NO_COLOR: %q", args, got)
		}
		t.Setenv("NO_COLOR", "")
		if got := on(append(strings.Fields(args), "--json")...); strings.Contains(got, "\x1b") {
			t.Errorf("enqueue %s --json: %q", args, got)
		}
		if got := enqueue(t, strings.Fields(args)...); strings.Contains(got.stdout, "\x1b") {
			t.Errorf("enqueue %s into a pipe: %q", args, got.stdout)
		}
	}
}

// TestHelpFitsTheTerminal: except for examples, which are to be copied.
func TestHelpFitsTheTerminal(t *testing.T) {
	terminal, printed := commandtest.Terminal(t, 80)
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		path := strings.Fields(c.CommandPath())
		if err := run(t.Context(), append(path[1:], "--help"), strings.NewReader(""), terminal, io.Discard); err != nil {
			t.Fatal(err)
		}
		help := printed()
		before, after, _ := strings.Cut(help, "\nExamples:\n")
		_, after, _ = strings.Cut(after, "\n\n")
		for line := range strings.Lines(before + after) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("%s --help: a line of %d columns: %s", c.CommandPath(), n, line)
			}
		}
		if words := strings.Fields(c.Long); len(words) > 0 && !strings.Contains(strings.Join(strings.Fields(help), " "), strings.Join(words, " ")) {
			t.Errorf("%s --help changes the words of its description: %s", c.CommandPath(), help)
		}
		for _, sub := range c.Commands() {
			check(sub)
		}
	}
	check(rootCommand(&program{}))
}

// TestInterruptedWaitIsNotShownAsDone: jobs of a paused queue are not worked.
func TestInterruptedWaitIsNotShownAsDone(t *testing.T) {
	migrated(t)
	terminal, printed := commandtest.Terminal(t, 80)
	ctx, interrupt := context.WithTimeout(t.Context(), time.Second)
	defer interrupt()
	if err := run(ctx, []string{"ingest", "--wait", "-"}, strings.NewReader(good), io.Discard, terminal); err == nil {
		t.Fatal("the wait ended without a worker")
	}
	if got := printed(); !strings.Contains(got, "  0 %") || strings.Contains(got, "100 %") {
		t.Errorf("progress: %q, want 0 %% and never 100 %%", got)
	}
}
