//go:build chaos

package chaos

import (
	"context"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/jobs"
)

// freshWithin is what athletes were promised: 99 of 100 activities have a fresh ACWR
// within this time of being enqueued, even during a deploy.
const freshWithin = time.Second

// TestRollingDeploy replaces every worker under load by one with other settings,
// starting the new one before the old one stops, like deploy/kubernetes: nothing is
// lost, no attempt is spent, and results stay fresh.
func TestRollingDeploy(t *testing.T) {
	r := own(t)
	r.exec(`ALTER SYSTEM SET track_commit_timestamp = on`)
	if err := r.server.Restart(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	r.begin(3)
	r.load.rate.Store(steadyRate / 4) // the load's few users wait for each other's locks; most activities are the athletes'
	athletes := startAthletes(r)
	time.Sleep(time.Second)
	r.fault(func() {
		for _, old := range append(r.workers[:0:0], r.workers...) {
			r.startWorker("TMWORKER_BATCHING_MAX_JOBS=100", "TMWORKER_BATCHING_LOOPS=1")
			time.Sleep(*long / 3)
			r.stopCleanly(old)
		}
	})
	athletes.stop()
	r.end()
	athletes.check()
}

// athletes each enqueue one activity and then read its ACWR. Each activity is the only
// one in its windows, so that its row is written once.
type athletes struct {
	*rig
	cancel   context.CancelFunc
	done     chan struct{}
	enqueued int
}

const (
	firstAthlete    = 1_000_000 // the lowest id of users and activities, above those of the load
	athletesAtOnce  = 3
	betweenAthletes = 20 * time.Millisecond
	ratioOfOneDay   = 4.0 // a week's load over a fourth of it
)

func startAthletes(r *rig) *athletes {
	ctx, cancel := context.WithCancel(r.Context())
	a := &athletes{rig: r, cancel: cancel, done: make(chan struct{})}
	go a.run(ctx)
	r.Cleanup(a.stop)
	return a
}

func (a *athletes) run(ctx context.Context) {
	defer close(a.done)
	ticker := time.NewTicker(betweenAthletes)
	defer ticker.Stop()
	load := 5.0
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		args := make([]jobs.ActivityIngest, athletesAtOnce)
		for i := range args {
			id := firstAthlete + a.enqueued + i
			args[i].Activities = []jobs.Activity{{ActivityID: int64(id), UserID: int32(id), Date: "2025-03-01", TotalLoadMiles: &load, Trimp: &load}}
		}
		if _, err := a.load.enqueuer.Ingest(context.WithoutCancel(ctx), jobs.PriorityLive, args...); err != nil {
			a.Errorf("enqueue: %v", err)
			return
		}
		a.enqueued += len(args)
	}
}

func (a *athletes) stop() {
	a.cancel()
	<-a.done
}

// freshnessQuery measures, by the server's clock, from the transaction that enqueued an
// activity to the commit with its ACWR.
const freshnessQuery = `
SELECT count(*), coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY s), 0), coalesce(percentile_cont(0.99) WITHIN GROUP (ORDER BY s), 0), coalesce(max(s), 0)
FROM (
	SELECT extract(epoch FROM pg_xact_commit_timestamp(a.xmin) - j.created_at)::float8 AS s
	FROM activities AS a JOIN river.river_job AS j ON j.id = a.ingest_job_id
	WHERE a.activity_id >= $1 AND a.acute_chronic_ratio = $2 AND a.trimp_acute_chronic_ratio = $2
) AS fresh`

func (a *athletes) check() {
	a.Helper()
	var fresh int
	var p50, p99, slowest float64
	if err := a.pool().QueryRow(a.Context(), freshnessQuery, firstAthlete, ratioOfOneDay).Scan(&fresh, &p50, &p99, &slowest); err != nil {
		a.Fatal(err)
	}
	a.Logf("freshness of %d activities: p50 %.0f ms, p99 %.0f ms, the slowest %.0f ms", fresh, p50*1000, p99*1000, slowest*1000)
	if fresh != a.enqueued || fresh == 0 {
		a.Errorf("of %d activities only %d are fresh", a.enqueued, fresh)
	}
	if p99 > freshWithin.Seconds() {
		a.Errorf("freshness p99 was %.3f s, want at most %v", p99, freshWithin)
	}
}
