package python

import (
	"context"
	"testing"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// latencyQuery measures, by the server's clock, from the transaction that enqueued a
// single activity to the completion of its job, which includes its ACWR. The commit
// that follows is not included.
const latencyQuery = `
WITH latency AS (
	SELECT extract(epoch FROM finalized_at - created_at) * 1000 AS ms
	FROM river.river_job
	WHERE kind = 'activity_ingest' AND (args->'activities'->0->>'user_id')::int > 1000
)
SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), percentile_cont(0.99) WITHIN GROUP (ORDER BY ms) FROM latency`

// BenchmarkLatency enqueues 1,000 single activities from Python, 50 a second, each in its
// own commit, while a worker runs:
//
//	go test ./test/python -run '^$' -bench Latency -benchtime 1x
func BenchmarkLatency(b *testing.B) {
	for b.Loop() {
		app, pool := newApplication(b, "psycopg2"), dbtest.Migrated(b)
		s := newService(b, pool)
		ctx, stop := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		app.use(b, pool, "commit") // waits until the worker has started
		app.use(b, pool, "fifty_a_second")
		stop()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		drain(b, pool)
		var n int
		var p50, p99 float64
		if err := pool.QueryRow(b.Context(), latencyQuery).Scan(&n, &p50, &p99); err != nil || n != 1000 {
			b.Fatalf("%d activities measured, want 1000: %v", n, err)
		}
		b.ReportMetric(p50, "p50-ms")
		b.ReportMetric(p99, "p99-ms")
	}
}
