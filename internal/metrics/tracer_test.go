package metrics

import (
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// TestBatchIsMeasuredAsAWhole: the server sends a batch's small results at its end, when
// the time can no longer be attributed to one of the statements.
func TestBatchIsMeasuredAsAWhole(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	tracer := newTracer(300*time.Millisecond, slog.New(slog.NewTextHandler(&log, nil)))
	config, err := pgx.ParseConfig(dbtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	config.Tracer = tracer
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	send := func(statements ...string) error {
		b := &pgx.Batch{}
		for _, sql := range statements {
			b.Queue(sql)
		}
		return conn.SendBatch(t.Context(), b).Close()
	}

	if err := send("-- name: quick\nSELECT 1", "SELECT 2", "-- name: sleepy\nSELECT pg_sleep(0.4)", "-- name: quick\nSELECT 1"); err != nil {
		t.Fatal(err)
	}
	if got := log.String(); strings.Count(got, "slow statement") != 1 || !strings.Contains(got, "statement=quick+sleepy took=") {
		t.Errorf("log = %q, want both statements in one line", got)
	}
	if err := send("-- name: refused\nSELECT 1/0"); err == nil {
		t.Error("a division by zero is no error")
	}
	if err := send("SELECT 1"); err != nil {
		t.Fatal(err)
	}
	if got, want := counted(t, tracer.durations), map[string]int{"quick+sleepy": 1, "refused": 1, "other": 1}; !maps.Equal(got, want) {
		t.Errorf("measured: %v, want %v", got, want)
	}
	if err := send("-- name: ended\nSELECT pg_terminate_backend(pg_backend_pid())"); err == nil {
		t.Error("a connection that the server ends is no error")
	}
	if got, want := counted(t, tracer.faults), map[string]int{"connect": 0, "statement": 1}; !maps.Equal(got, want) {
		t.Errorf("connections lost: %v, want %v", got, want)
	}
	if err := send("-- name: unsent\nSELECT 1"); err == nil {
		t.Error("a batch on a closed connection is no error")
	}
	if got := counted(t, tracer.durations)["unsent"]; got > 1 {
		t.Errorf("a batch that could not be sent was measured %d times", got)
	}
}

// counted returns the values of counters, and the numbers of observations of histograms, by
// their only label.
func counted(t *testing.T, c prometheus.Collector) map[string]int {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			counts[m.GetLabel()[0].GetValue()] = int(m.GetCounter().GetValue()) + int(m.GetHistogram().GetSampleCount())
		}
	}
	return counts
}
