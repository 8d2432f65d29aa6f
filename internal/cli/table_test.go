package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	for _, c := range []struct {
		header string
		rows   []string
		want   string
	}{
		{
			"QUEUE\tJOBS\tDONE\tOLDEST",
			[]string{"ingest\t7\t3 of 4\t-", "recalc ≈\t1024\t13 of 400\t2 min"},
			"QUEUE     JOBS       DONE  OLDEST\n" +
				"ingest       7     3 of 4  -\n" +
				"recalc ≈  1024  13 of 400  2 min\n",
		},
		{"N\tX", []string{"-\t1.5", "12\tnone"}, " N  X\n -  1.5\n12  none\n"},
		{"ID\tJOBS", nil, "ID  JOBS\n"},
		{"JOBS\tX", []string{"\x1b[33m7\x1b[0m\ta", "~10001\tb", "≥20000\tc"}, "  JOBS  X\n     \x1b[33m7\x1b[0m  a\n~10001  b\n≥20000  c\n"},
	} {
		var got strings.Builder
		if err := WriteTable(&got, c.header, c.rows); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got.String()); diff != "" {
			t.Errorf("WriteTable (-want +got):\n%s", diff)
		}
	}
}

// TestClippedLine: colors take no width, and a color that begins in a clipped line ends
// in it.
func TestClippedLine(t *testing.T) {
	for _, c := range []struct {
		line  string
		width int
		want  string
	}{
		{"four", 4, "four"},
		{"five!", 4, "fiv…"},
		{"\x1b[31mfour\x1b[0m", 4, "\x1b[31mfour\x1b[0m"},
		{"a \x1b[31mlong one\x1b[0m, and more", 6, "a \x1b[31mlon\x1b[0m…"},
		{"anything", 0, "anything"},
	} {
		if got := clipped(c.line, c.width); got != c.want {
			t.Errorf("clipped(%q, %d) = %q, want %q", c.line, c.width, got, c.want)
		}
	}
}

func TestCounted(t *testing.T) {
	for n, want := range map[int64]string{0: "0 jobs", 1: "1 job", 2: "2 jobs", -1: "-1 jobs"} {
		if got := Counted(n, "job", "jobs"); got != want {
			t.Errorf("Counted(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestWrapped(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{
		{"one two\nthree", 80, "one two three"},
		{"one two\nthree", 7, "one two\nthree"},
		{"größere Wörter", 9, "größere\nWörter"},
		{"unbreakable a", 5, "unbreakable\na"},
		{"", 5, ""},
	} {
		if got := wrapped(c.text, c.width); got != c.want {
			t.Errorf("wrapped(%q, %d) = %q, want %q", c.text, c.width, got, c.want)
		}
	}
}
