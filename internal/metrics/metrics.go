// Package metrics has the metrics that Prometheus scrapes from a worker process.
//
// Rule: metrics cost a job next to nothing. Existing counters are read when Prometheus
// scrapes; events are recorded once per statement or transaction, and a job adds one
// observation. Label values come from fixed sets.
//
// Series whose help says "The whole database" are the same from every process:
// aggregate them with max, all others with sum.
package metrics

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/workers"
)

// namespace is the prefix of our names, as of the environment's variables.
const namespace = "tmworker"

// Metrics are the instruments of one process.
type Metrics struct {
	registry *prometheus.Registry
	tracer   *Tracer
	batches  *batches
}

// New returns instruments without sources; see Connect. Statements that take longer than
// slowQuery are logged.
func New(version string, slowQuery time.Duration, logger *slog.Logger) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), tracer: newTracer(slowQuery, logger), batches: newBatches()}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1, with the version of this worker.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	t, b := m.tracer, m.batches
	m.registry.MustRegister(build, t.durations, t.slowCount, t.acquires, t.timeouts, t.faults,
		b.sizes, b.durations, b.roundTrips, b.savepoints, b.outcomes, b.latencies,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Tracer returns the tracer for the pool's options.
func (m *Metrics) Tracer() *Tracer { return m.tracer }

// Connect sets the sources, which are read when Prometheus scrapes. It is called once.
func (m *Metrics) Connect(pool func() *pgxpool.Stat, service *workers.Service, watch *admin.Watch, ready func() bool) {
	m.registry.MustRegister(collectPool(pool), collectService(service), collectDatabase(watch),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "ready", Help: "1 when the process is ready, as /readyz says.",
		}, func() float64 { return oneIf(ready()) }))
}

// Handler serves the metrics, to few clients at a time. They are not compressed,
// because that would take most of the time.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{DisableCompression: true, MaxRequestsInFlight: 2, Timeout: 5 * time.Second})
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// description describes one series of a collector.
func description(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
}

// collector reads its source when Prometheus scrapes. Its series are not known
// before, because they depend on the snapshot and its queues.
type collector func(chan<- prometheus.Metric)

// Describe implements prometheus.Collector.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) { c(ch) }

func counter(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}
