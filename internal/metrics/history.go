package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const (
	// Step is the time between two points of a history.
	Step = time.Minute
	// points is how many are kept.
	points = 60
)

// Point is what a process did within one step.
type Point struct {
	At       time.Time
	Jobs     uint64        // committed
	P50, P99 time.Duration // from a job's insertion to its commit, interpolated; 0 without jobs
}

// History is the last hour of this process, so that its pages need no
// Prometheus.
type History struct {
	batches *batches

	mu     sync.Mutex
	points []Point // oldest first
	before latencyCount
}

// latencyCount is a histogram: jobs at most as slow as each of latencyBuckets,
// and all jobs.
type latencyCount struct {
	upTo []uint64
	all  uint64
}

// History returns the history of these metrics, which is empty until it runs.
func (m *Metrics) History() *History { return &History{batches: m.batches} }

// Run adds a point every step until ctx ends.
func (h *History) Run(ctx context.Context) {
	ticker := time.NewTicker(Step)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			h.add(now)
		case <-ctx.Done():
			return
		}
	}
}

// Points returns the points, oldest first.
func (h *History) Points() []Point {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Point{}, h.points...)
}

func (h *History) add(now time.Time) {
	count := h.batches.latencyCount()
	h.mu.Lock()
	defer h.mu.Unlock()
	within := count.minus(h.before)
	h.before = count
	h.points = append(h.points, Point{At: now, Jobs: within.all, P50: within.quantile(.5), P99: within.quantile(.99)})
	h.points = h.points[max(0, len(h.points)-points):]
}

// latencyCount adds up the lanes' histograms.
func (b *batches) latencyCount() latencyCount {
	sum := latencyCount{upTo: make([]uint64, len(latencyBuckets))}
	series := make(chan prometheus.Metric)
	go func() {
		defer close(series)
		b.latencies.Collect(series)
	}()
	for s := range series {
		var m dto.Metric
		if s.Write(&m) != nil {
			continue // a histogram of ours always can
		}
		for i, bucket := range m.GetHistogram().GetBucket() {
			if i < len(sum.upTo) {
				sum.upTo[i] += bucket.GetCumulativeCount()
			}
		}
		sum.all += m.GetHistogram().GetSampleCount()
	}
	return sum
}

func (c latencyCount) minus(before latencyCount) latencyCount {
	within := latencyCount{upTo: make([]uint64, len(c.upTo)), all: c.all - before.all}
	for i, n := range c.upTo {
		within.upTo[i] = n
		if before.upTo != nil {
			within.upTo[i] -= before.upTo[i]
		}
	}
	return within
}

// quantile interpolates linearly within a bucket, as PromQL does. What is
// slower than the last bucket counts as that.
func (c latencyCount) quantile(q float64) time.Duration {
	if c.all == 0 {
		return 0
	}
	rank := q * float64(c.all)
	below, lower := uint64(0), 0.0
	for i, upTo := range c.upTo {
		if float64(upTo) >= rank {
			share := (rank - float64(below)) / float64(upTo-below)
			return seconds(lower + share*(latencyBuckets[i]-lower))
		}
		below, lower = upTo, latencyBuckets[i]
	}
	return seconds(lower)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
