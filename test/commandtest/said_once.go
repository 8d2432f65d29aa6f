package commandtest

import (
	"regexp"
	"strings"
	"testing"
)

// clauseEnd is where one clause of an error ends and the next begins.
var clauseEnd = regexp.MustCompile(`[:;]\s|\n`)

// SaidOnce fails the test if a command says a clause of its error twice on stderr, or on
// stdout as well. Clauses of a word or two may repeat.
func SaidOnce(t testing.TB, stdout, stderr string) {
	t.Helper()
	said := map[string]bool{}
	for _, clause := range clauseEnd.Split(stderr, -1) {
		clause = strings.TrimSpace(clause)
		if strings.Count(clause, " ") < 2 {
			continue
		}
		if said[clause] || strings.Contains(stdout, clause) {
			t.Errorf("%q is said twice:\n%s%s", clause, stdout, stderr)
		}
		said[clause] = true
	}
	for _, words := range []string{"failed to connect", "connect to", "does not exist", "must be", "error:"} {
		if n := strings.Count(stdout+stderr, words); n > 1 {
			t.Errorf("%q is said %d times:\n%s%s", words, n, stdout, stderr)
		}
	}
}
