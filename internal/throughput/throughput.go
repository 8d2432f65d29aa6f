// Package throughput records the work of all worker processes for a day: how many jobs of
// each kind were committed in every ten seconds, and their latencies.
//
// Rule: it never delays the work. Lanes add to counters in memory; every ten seconds
// each process adds its counters to the table in a statement of its own, unless it did
// no work. Counts that a killed process had not written are lost.
package throughput

import (
	"fmt"
	"math/bits"
	"strings"
	"sync/atomic"
	"time"

	"github.com/trainingmonkey/worker/internal/queue"
)

const (
	// Bucket is the time that one row covers.
	Bucket = 10 * time.Second
	// bins is the length of an array of latencies. The last one has no upper bound:
	// it begins at about 2 hours and 20 minutes.
	bins = 25
)

// latencyBin returns the bin of a latency: bin 0 is below one millisecond, and the upper
// bound of any other is twice its lower bound. Stored rows depend on this.
func latencyBin(latency time.Duration) int {
	return min(bits.Len64(uint64(max(0, latency.Milliseconds()))), bins-1)
}

// bounds returns the lower and the upper bound of a bin.
func bounds(bin int) (from, to time.Duration) {
	to = time.Millisecond << bin
	if bin == 0 {
		return 0, to
	}
	return to / 2, to
}

// Count has a process's unwritten counts of one kind. Its methods may be called
// concurrently.
type Count struct {
	failed    atomic.Int64
	latencies [bins]atomic.Int64
}

// Committed counts a job by the time since its insertion. A negative time, when clocks
// disagree, counts as 0.
func (c *Count) Committed(latency time.Duration) { c.latencies[latencyBin(latency)].Add(1) }

// Failed counts attempts that failed because of the job.
func (c *Count) Failed(attempts int) { c.failed.Add(int64(attempts)) }

// counts are the values taken from a Count.
type counts struct {
	committed, failed int64
	latencies         [bins]int64
}

// take moves the counts to sum.
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
func Forget(riverSchema string) string { return queue.Schema(riverSchema).SQL(forgetQuery) }

// forEachBin returns an SQL array of an expression for each bin, in which %d is
// the bin's subscript, from 1.
func forEachBin(expression string) string {
	elements := make([]string, bins)
	for i := range elements {
		elements[i] = strings.ReplaceAll(expression, "%d", fmt.Sprint(i+1))
	}
	return "ARRAY[" + strings.Join(elements, ", ") + "]"
}
