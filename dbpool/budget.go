package dbpool

import (
	"errors"
	"fmt"
	"strings"
)

// Need is one user of the pool and how many connections it may use at once.
type Need struct {
	What  string
	Conns int
}

// Budget lists everything that may use a connection of the pool at the same time.
type Budget []Need

// Total returns the number of connections that the pool must allow.
func (b Budget) Total() int {
	total := 0
	for _, need := range b {
		total += need.Conns
	}
	return total
}

// ErrOverBudget is returned by Check when the pool is too small.
var ErrOverBudget = errors.New("connection budget exceeds database.max_conns")

// Check returns an error if the pool is too small for all needs at once. The
// error shows the sum and the min setting that works.
func (b Budget) Check(maxConns int32) error {
	if b.Total() <= int(maxConns) {
		return nil
	}
	return fmt.Errorf("%w: %s > %d; set database.max_conns to at least %d, or lower batching.loops or backfill.workers",
		ErrOverBudget, b, maxConns, b.Total())
}

// String shows the sum: "2 ingest commits + 1 completer + … = 12".
func (b Budget) String() string {
	terms := make([]string, len(b))
	for i, need := range b {
		terms[i] = fmt.Sprintf("%d %s", need.Conns, need.What)
	}
	return fmt.Sprintf("%s = %d", strings.Join(terms, " + "), b.Total())
}
