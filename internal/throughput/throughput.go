// Package throughput keeps for a day what all worker processes did: how many jobs
// of each kind were committed within ten seconds, and how long after their insertion.
//
// Rule: it is never in the way of the work. Lanes add to counters in memory; each
// process adds those to the table by a statement of its own, once in ten seconds,
// and not at all when it did nothing. What a killed process had not written is lost.
package throughput

import (
	"fmt"
	"math/bits"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// Bucket is what one row is of.
	Bucket = 10 * time.Second
	// bins is the length of an array of latencies. The last one has no upper bound:
	// it begins at about 2 hours and 20 minutes.
	bins = 25
)

// binOf returns the bin of a latency: bin 0 is of less than a millisecond, and each
// other one ends at twice its beginning. Rows that are there already rest on this.
func binOf(latency time.Duration) int {
	return min(bits.Len64(uint64(max(0, latency.Milliseconds()))), bins-1)
}

// bounds returns where a bin begins and ends.
func bounds(bin int) (from, to time.Duration) {
	to = time.Millisecond << bin
	if bin == 0 {
		return 0, to
	}
	return to / 2, to
}

// Count is what a process did of one kind and did not write yet. Its methods may be
// called by several goroutines at once.
type Count struct {
	failed    atomic.Int64
	latencies [bins]atomic.Int64
}

// Committed counts a job by the time since its insertion. Below 0, where clocks
// disagree, it counts as 0.
func (c *Count) Committed(latency time.Duration) { c.latencies[binOf(latency)].Add(1) }

// Failed counts attempts that ended with an error of the job's own.
func (c *Count) Failed(attempts int) { c.failed.Add(int64(attempts)) }

// counts are those of a kind, taken out of a Count.
type counts struct {
	committed, failed int64
	latencies         [bins]int64
}

// take moves what was counted to sum.
func (c *Count) take(sum *counts) {
	sum.failed += c.failed.Swap(0)
	for i := range c.latencies {
		n := c.latencies[i].Swap(0)
		sum.latencies[i] += n
		sum.committed += n
	}
}

// forgetQuery deletes up to $1 of the rows that are older than a day, in key order.
const forgetQuery = `
-- name: forget_throughput
DELETE FROM {schema}.worker_throughput WHERE (bucket, kind) IN (
	SELECT bucket, kind FROM {schema}.worker_throughput
	WHERE bucket < now() - interval '1 day'
	ORDER BY bucket, kind
	LIMIT $1
	FOR UPDATE SKIP LOCKED)`

// Forget returns the statement that deletes up to $1 of the rows that are too old.
func Forget(riverSchema string) string { return inSchema(forgetQuery, riverSchema) }

func inSchema(query, riverSchema string) string {
	return strings.ReplaceAll(query, "{schema}", pgx.Identifier{riverSchema}.Sanitize())
}

// forEachBin returns an SQL array of an expression in which %d is the bin's place.
func forEachBin(expression string) string {
	elements := make([]string, bins)
	for i := range elements {
		elements[i] = strings.ReplaceAll(expression, "%d", fmt.Sprint(i+1))
	}
	return "ARRAY[" + strings.Join(elements, ", ") + "]"
}
