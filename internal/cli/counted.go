package cli

import "fmt"

// Counted is a number with its noun: 1 job, 2 jobs.
func Counted[N ~int | ~int32 | ~int64](n N, one, many string) string {
	return fmt.Sprintf("%d %s", n, Noun(n, one, many))
}

// Noun is the word, or words, for a number of things.
func Noun[N ~int | ~int32 | ~int64](n N, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}
