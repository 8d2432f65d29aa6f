package metrics

import (
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trainingmonkey/worker/internal/groupcommit"
	"github.com/trainingmonkey/worker/internal/pgfault"
)

// batches are the instruments of the engines.
type batches struct {
	sizes      *prometheus.HistogramVec
	closed     *prometheus.CounterVec
	durations  *prometheus.HistogramVec
	roundTrips *prometheus.HistogramVec
	outcomes   *prometheus.CounterVec
	latencies  *prometheus.HistogramVec
}

// latencyBuckets are seconds from a job's insertion to its commit.
var latencyBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200}

var engineLabels = []string{"kind", "lane"}

func newBatches() *batches {
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, engineLabels)
	}
	counterOf := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, append(engineLabels[:2:2], label))
	}
	return &batches{
		sizes:      histogram("batch_jobs", "Jobs that were collected into one batch.", []float64{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000}),
		closed:     counterOf("batches_total", "Batches by why they were closed: jobs, weight, linger, everyone (no executing job was left to wait for), alone.", "reason"),
		durations:  histogram("transaction_duration_seconds", "Time of a batch's transaction, from asking for a connection to the answer to COMMIT.", []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 8}),
		roundTrips: histogram("transaction_round_trips", "Round trips of a batch's transaction, BEGIN and COMMIT included.", []float64{2, 3, 4, 5, 6, 8, 10, 15, 20}),
		outcomes:   counterOf("transactions_total", "Transactions of batches by outcome: committed, taken_over, deadlock, transient, data, program, panic.", "outcome"),
		latencies:  histogram("job_latency_seconds", "Time from a job's insertion to its commit.", latencyBuckets),
	}
}

// Describe implements prometheus.Collector.
func (b *batches) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(b, ch) }

// Collect implements prometheus.Collector.
func (b *batches) Collect(ch chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{b.sizes, b.closed, b.durations, b.roundTrips, b.outcomes, b.latencies} {
		c.Collect(ch)
	}
}

// outcomes of transactions.
var outcomes = []string{"committed", "taken_over", "deadlock", "transient", "data", "program", "panic"}

// Observer returns the observer of the engine of a kind's lane.
func (m *Metrics) Observer(kind, lane string) groupcommit.Observer {
	b := m.batches
	o := &observer{
		size:       b.sizes.WithLabelValues(kind, lane),
		duration:   b.durations.WithLabelValues(kind, lane),
		roundTrips: b.roundTrips.WithLabelValues(kind, lane),
		latency:    b.latencies.WithLabelValues(kind, lane),
		closed:     map[groupcommit.FillReason]prometheus.Counter{},
		outcomes:   map[string]prometheus.Counter{},
	}
	for _, reason := range groupcommit.FillReasons {
		o.closed[reason] = b.closed.WithLabelValues(kind, lane, string(reason))
	}
	for _, outcome := range outcomes {
		o.outcomes[outcome] = b.outcomes.WithLabelValues(kind, lane, outcome)
	}
	return o
}

// observer holds one engine's instruments, looked up once.
type observer struct {
	size, duration, roundTrips, latency prometheus.Observer
	closed                              map[groupcommit.FillReason]prometheus.Counter
	outcomes                            map[string]prometheus.Counter
}

// Collected implements groupcommit.Observer.
func (o *observer) Collected(jobs int, reason groupcommit.FillReason) {
	o.size.Observe(float64(jobs))
	o.closed[reason].Inc()
}

// Transacted implements groupcommit.Observer.
func (o *observer) Transacted(t groupcommit.Transaction) {
	o.duration.Observe(t.Took.Seconds())
	o.roundTrips.Observe(float64(t.RoundTrips))
	o.outcomes[outcomeOf(t.Err)].Inc()
}

// Committed implements groupcommit.Observer.
func (o *observer) Committed(latency time.Duration) {
	o.latency.Observe(max(0, latency.Seconds()))
}

const deadlockDetected = "40P01"

func outcomeOf(err error) string {
	var pgErr *pgconn.PgError
	var panicked *groupcommit.PanicError
	switch {
	case err == nil:
		return "committed"
	case errors.Is(err, groupcommit.ErrTakenOver):
		return "taken_over"
	case errors.As(err, &panicked):
		return "panic"
	case errors.As(err, &pgErr) && pgErr.Code == deadlockDetected:
		return "deadlock"
	}
	return pgfault.Of(err).String()
}
