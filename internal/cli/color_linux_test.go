package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"testing"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/test/commandtest"
)

// TestColorsAreForTerminals: for those that show colors, unless NO_COLOR is set.
func TestColorsAreForTerminals(t *testing.T) {
	terminal, printed := commandtest.Terminal(t, 80)
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	const painted = "\x1b[31mfailed\x1b[0m"
	for _, c := range []struct {
		about       string
		out         io.Writer
		noColor, to string // NO_COLOR and TERM
		want        string
	}{
		{"terminal", terminal, "", "xterm", painted},
		{"terminal without TERM", terminal, "", "", painted},
		{"NO_COLOR", terminal, "1", "xterm", "failed"},
		{"NO_COLOR of any value", terminal, "false", "xterm", "failed"},
		{"dumb terminal", terminal, "", "dumb", "failed"},
		{"file", file, "", "xterm", "failed"},
		{"pipe", &bytes.Buffer{}, "", "xterm", "failed"},
	} {
		t.Setenv("NO_COLOR", c.noColor)
		t.Setenv("TERM", c.to)
		p := &Program{Out: c.out, Err: io.Discard}
		var got string
		command := &cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error {
			got = p.State("failed")
			return nil
		}}
		if err := p.Run(context.Background(), command, nil); err != nil {
			t.Fatal(err)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.about, got, c.want)
		}
	}

	p := &Program{Out: terminal, colors: true}
	p.Table("JOB\tSTATE\tERROR", []string{
		"1\t" + p.State("discarded") + "\tan error that is longer than the terminal is wide, so that the end of it is cut off",
		"23\tavailable\t-",
	})
	want := "JOB  STATE      ERROR\n" +
		"  1  \x1b[31mdiscarded\x1b[0m  an error that is longer than the terminal is wide, so that the …\n" +
		" 23  available  -\n"
	if got := printed(); got != want {
		t.Errorf("a table with a painted cell is\n%q, want\n%q", got, want)
	}
}
