package metrics

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/lane"
)

// batches are the instruments of the lanes.
type batches struct {
	sizes      *prometheus.HistogramVec
	durations  *prometheus.HistogramVec
	roundTrips *prometheus.HistogramVec
	savepoints *prometheus.HistogramVec
	outcomes   *prometheus.CounterVec
	latencies  *prometheus.HistogramVec
}

// latencyBuckets are seconds from a job's insertion to its commit.
var latencyBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200}

var laneLabels = []string{"kind", "lane"}

func newBatches() *batches {
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, laneLabels)
	}
	newCounter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, append(laneLabels[:2:2], label))
	}
	return &batches{
		sizes:      histogram("batch_jobs", "Jobs that one transaction completed.", []float64{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000}),
		durations:  histogram("transaction_duration_seconds", "Time of a lane's transaction, from asking for a connection to the answer to COMMIT.", []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 8}),
		roundTrips: histogram("transaction_round_trips", "Round trips of a lane's transaction, BEGIN and COMMIT included.", []float64{2, 3, 4, 5, 6, 8, 10, 15, 20}),
		savepoints: histogram("transaction_savepoints", "Savepoints of a lane's transaction: 1 unless jobs had to be isolated.", []float64{1, 2, 4, 8, 16, 32, 63}),
		outcomes:   newCounter("transactions_total", "Transactions of lanes that found jobs or failed, by outcome: committed, deadlock, transient, data, program, panic.", "outcome"),
		latencies:  histogram("job_latency_seconds", "Time from a job's insertion to its commit.", latencyBuckets),
	}
}

// outcomes are the values of the label for outcomes of transactions.
var outcomes = []string{"committed", "deadlock", "transient", "data", "program", "panic"}

// Observer returns the observer of the lane of a kind and class.
func (m *Metrics) Observer(kind, class string) lane.Observer {
	b := m.batches
	o := &observer{
		size:       b.sizes.WithLabelValues(kind, class),
		duration:   b.durations.WithLabelValues(kind, class),
		roundTrips: b.roundTrips.WithLabelValues(kind, class),
		savepoints: b.savepoints.WithLabelValues(kind, class),
		latency:    b.latencies.WithLabelValues(kind, class),
		outcomes:   map[string]prometheus.Counter{},
	}
	for _, outcome := range outcomes {
		o.outcomes[outcome] = b.outcomes.WithLabelValues(kind, class, outcome)
	}
	return o
}

// observer holds one lane's instruments, resolved once.
type observer struct {
	size, duration, roundTrips, savepoints, latency prometheus.Observer
	outcomes                                        map[string]prometheus.Counter
}

// Transacted implements lane.Observer.
func (o *observer) Transacted(t lane.Transaction) {
	if t.Err == nil {
		o.size.Observe(float64(t.Jobs))
		o.savepoints.Observe(float64(t.Savepoints))
	}
	o.duration.Observe(t.Took.Seconds())
	o.roundTrips.Observe(float64(t.RoundTrips))
	o.outcomes[outcome(t.Err)].Inc()
}

// Committed implements lane.Observer.
func (o *observer) Committed(latency time.Duration) {
	o.latency.Observe(max(0, latency.Seconds()))
}

const deadlockDetected = "40P01"

func outcome(err error) string {
	var panicked *lane.PanicError
	switch {
	case err == nil:
		return "committed"
	case errors.As(err, &panicked):
		return "panic"
	case dbpool.SQLState(err) == deadlockDetected:
		return "deadlock"
	}
	return dbpool.Classify(err).String()
}
