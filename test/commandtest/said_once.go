package commandtest

import (
	"regexp"
	"strings"
	"testing"
)

// clauseEnd separates the clauses of an error.
var clauseEnd = regexp.MustCompile(`[:;]\s|\n`)

// SaidOnce fails the test if a command prints a clause of its error twice on stderr, or
// also on stdout. Clauses of one or two words may repeat.
func SaidOnce(t testing.TB, stdout, stderr string) {
	t.Helper()
	said := map[string]bool{}
	for _, clause := range clauseEnd.Split(stderr, -1) {
		clause = strings.TrimSpace(clause)
		if strings.Count(clause, " ") < 2 {
			continue
		}
		if said[clause] || strings.Contains(stdout, clause) {
			t.Errorf("%q is printed twice:\n%s%s", clause, stdout, stderr)
		}
		said[clause] = true
	}
	for _, words := range []string{"failed to connect", "connect to", "does not exist", "must be", "error:"} {
		if n := strings.Count(stdout+stderr, words); n > 1 {
			t.Errorf("%q is printed %d times:\n%s%s", words, n, stdout, stderr)
		}
	}
}
