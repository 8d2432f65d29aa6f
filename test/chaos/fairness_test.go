//go:build chaos

package chaos

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// liveLatencyQuery measures, for users who each sync one activity, from enqueuing the
// activity to the commit with its ACWR.
const liveLatencyQuery = `
WITH latency AS (
	SELECT extract(epoch FROM finalized_at - created_at) * 1000 AS ms
	FROM river.river_job
	WHERE queue = 'ingest' AND created_at BETWEEN $1 AND $2
)
SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), percentile_cont(0.99) WITHIN GROUP (ORDER BY ms) FROM latency`

// TestImportDoesNotDelayLiveActivities imports one user's 15,000 activities
// while others sync theirs.
func TestImportDoesNotDelayLiveActivities(t *testing.T) {
	const activities, liveRate = 15_000, 50
	r := shared(t)
	worker := r.startWorker()
	pool := r.pool()
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	user := int32(1000)
	live := func(until func() bool) (from, to time.Time) {
		from = time.Now()
		ticker := time.NewTicker(time.Second / liveRate)
		defer ticker.Stop()
		for !until() {
			<-ticker.C
			user++
			a := jobs.Activity{ActivityID: int64(user) * 1_000_000, UserID: user, Date: "2025-06-01", TotalLoadMiles: new(5.0), Trimp: new(50.0)}
			if _, err := enqueuer.Ingest(t.Context(), jobs.PriorityLive, jobs.ActivityIngest{Activities: []jobs.Activity{a}}); err != nil {
				t.Fatal(err)
			}
		}
		return from, time.Now()
	}
	after := func(d time.Duration) func() bool {
		end := time.Now().Add(d)
		return func() bool { return time.Now().After(end) }
	}
	live(after(2 * time.Second)) // warm up
	idleFrom, idleTo := live(after(6 * time.Second))

	var history []jobs.ActivityIngest
	first := time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range activities {
		if i%100 == 0 {
			history = append(history, jobs.ActivityIngest{})
		}
		job := &history[len(history)-1]
		job.Activities = append(job.Activities, jobs.Activity{
			ActivityID: int64(i + 1), UserID: 1, Date: first.AddDate(0, 0, i/10).Format(time.DateOnly), TotalLoadMiles: new(float64(i % 9)), Trimp: new(1.0),
		})
	}
	if _, err := enqueuer.Ingest(t.Context(), jobs.PriorityBulk, history...); err != nil {
		t.Fatal(err)
	}
	imported := func() bool {
		var left int
		err := r.connect(func(ctx context.Context, conn *pgx.Conn) error {
			return conn.QueryRow(ctx, `SELECT count(*) FROM river.river_job WHERE queue LIKE '%_bulk' AND state <> 'completed'`).Scan(&left)
		})
		return err == nil && left == 0
	}
	busy, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for !imported() {
			time.Sleep(200 * time.Millisecond)
		}
		close(busy)
	}()
	busyFrom, busyTo := live(func() bool {
		select {
		case <-busy:
			return true
		default:
			return false
		}
	})
	<-done
	r.drained(time.Minute)
	r.stopCleanly(worker)

	measure := func(from, to time.Time) (n int, p50, p99 float64) {
		if err := pool.QueryRow(t.Context(), liveLatencyQuery, from, to).Scan(&n, &p50, &p99); err != nil {
			t.Fatal(err)
		}
		return n, p50, p99
	}
	idleN, idle50, idle99 := measure(idleFrom, idleTo)
	busyN, busy50, busy99 := measure(busyFrom, busyTo)
	t.Logf("idle: %d activities, p50 %.0f ms, p99 %.0f ms", idleN, idle50, idle99)
	t.Logf("while %d activities were imported in %v: %d activities, p50 %.0f ms, p99 %.0f ms (%.1f × idle)",
		activities, busyTo.Sub(busyFrom).Round(time.Second), busyN, busy50, busy99, busy99/idle99)
	if busyN < 50 {
		t.Errorf("only %d live activities were synced during the import", busyN)
	}
	if limit := max(2*idle99, 250); busy99 > limit {
		t.Errorf("p99 during the import is %.0f ms, want at most %.0f", busy99, limit)
	}
}
