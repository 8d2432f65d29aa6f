package web_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// soon is how long a condition may take to appear in the metrics of these tests.
const soon = 20 * time.Second

// keepTakingSnapshots takes one snapshot after another.
func (r *rig) keepTakingSnapshots() {
	ctx, cancel := context.WithCancel(r.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := r.watch.TakeSnapshot(ctx); err != nil && ctx.Err() == nil {
				r.Log(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	r.Cleanup(func() {
		cancel()
		<-done
	})
}

// TestFreshnessAndQueues causes AthletesWait, ImportsWait, QueuePaused and
// ManyRejects, and ends them.
func TestFreshnessAndQueues(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.keepTakingSnapshots()
	r.value(`tmworker_freshness_seconds{lane="live"}`, soon, is(0))
	r.exec(`SELECT river.enqueue_activity_ingest('[{"activity_id": 1, "user_id": 1, "date": "2025-01-01"}]'),
	               river.enqueue_activity_ingest('[{"activity_id": 2, "user_id": 1, "date": "2025-01-01"}]', 3)`)
	r.exec(`UPDATE river.river_job SET created_at = created_at - CASE queue WHEN 'ingest' THEN interval '2 minutes' ELSE interval '2 hours' END`)
	r.exec(`INSERT INTO river.river_job (kind, queue, args, max_attempts)
		SELECT 'activity_ingest', 'ingest', jsonb_build_object('activities', jsonb_agg(jsonb_build_object('activity_id', 100 + i, 'user_id', -1, 'date', '2025-01-01'))), 25
		FROM generate_series(1, 120) AS i`)
	r.value(`tmworker_freshness_seconds{lane="live"}`, soon, above(60))
	r.value(`tmworker_freshness_seconds{lane="bulk"}`, soon, above(3600))
	r.value(`tmworker_freshness_jobs`, soon, is(3))
	r.run()
	r.waitForReason("", noticed)
	r.value(`tmworker_freshness_seconds`, soon, is(0))
	r.value(`tmworker_rejects_last_day`, soon, is(120))
	r.value(`tmworker_jobs_enqueued_total{kind="activity_ingest"}`, soon, is(3))
	r.value(`tmworker_jobs_worked_total{kind="activity_ingest"`, soon, is(3))
	r.value(`tmworker_job_latency_seconds_count{kind="activity_ingest"`, soon, is(3))
	r.value(`tmworker_ready`, soon, is(1))
	r.value(`tmworker_processes{state="alive"}`, soon, is(1))

	if err := r.service.Client().QueuePause(t.Context(), "ingest", nil); err != nil {
		t.Fatal(err)
	}
	r.value(`tmworker_queue_paused{queue="ingest"}`, soon, is(1))
	if err := r.service.Client().QueueResume(t.Context(), "ingest", nil); err != nil {
		t.Fatal(err)
	}
	r.value(`tmworker_queue_paused{queue="ingest"}`, soon, is(0))
}

// TestFailures causes JobsFail and JobsDiscarded.
func TestFailures(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.exec(`ALTER TABLE activities ADD CONSTRAINT injected CHECK (acute_chronic_ratio <> 4)`)
	r.exec(`INSERT INTO activities (activity_id, user_id, date, total_load_miles) VALUES (1, 9, '2025-01-01', 5)`)
	r.exec(`INSERT INTO river.river_job (kind, queue, args, max_attempts)
		SELECT 'acwr_recalc', 'recalc', '{"ranges": [{"user_id": 1, "from": "2025-01-01", "to": "2025-01-01"}]}', 25 FROM generate_series(1, 4)`)
	r.exec(`INSERT INTO river.river_job (kind, queue, args, max_attempts) VALUES
		('acwr_recalc', 'recalc', '{"ranges": [{"user_id": 9, "from": "2025-01-01", "to": "2025-01-01"}]}', 1),
		('activity_ingest', 'ingest', '{"activities": 7}', 25)`)
	r.run()
	r.value(`tmworker_jobs_worked_total{kind="acwr_recalc"`, soon, is(4))
	r.value(`tmworker_jobs_discarded_total{kind="acwr_recalc"`, soon, is(1))
	r.value(`tmworker_jobs_failed_total{kind="acwr_recalc"`, soon, is(1))
	r.value(`tmworker_batch_bisections_total{kind="acwr_recalc",lane="live"}`, soon, above(0))
	r.value(`tmworker_jobs_cancelled_total{kind="activity_ingest"`, soon, is(1))
	r.value(`tmworker_jobs_failed_total{kind="activity_ingest"`, soon, is(1))
	r.takeSnapshot()
	r.value(`tmworker_queue_jobs{queue="recalc",state="discarded"}`, soon, is(1))
}

// TestLaneStandsStill causes LaneStandsStill by a fault that is no job's, and retried
// transactions by a lock. Neither costs a job an attempt.
func TestLaneStandsStill(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.MigratedURL(t)
	r := newRig(t, databaseURL)
	var many []jobs.Activity
	for i := range 60 {
		many = append(many, activity(int64(i+1), int32(i%5+1), i))
	}
	r.run()
	r.value(`tmworker_ready`, soon, is(1))
	r.exec(`ALTER TABLE user_locks RENAME TO hidden`)
	r.enqueue(many...)
	r.value(`tmworker_lane_standstill{queue="ingest"}`, soon, is(1))
	r.value(`tmworker_transactions_total{kind="activity_ingest",lane="live",outcome="program"}`, soon, above(0))
	r.value(`tmworker_ready`, soon, is(0))
	r.exec(`ALTER TABLE hidden RENAME TO user_locks`)
	r.value(`tmworker_jobs_worked_total{kind="activity_ingest"`, soon, is(60))
	r.value(`tmworker_lane_standstill{queue="ingest"}`, soon, is(0))
	r.value(`tmworker_ready`, soon, is(1))

	tx, err := dbtest.Open(t, databaseURL).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), `LOCK TABLE activities IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	r.enqueue(activity(1000, 1, 1))
	r.value(`tmworker_batch_retries_total{kind="activity_ingest",lane="live"}`, soon, above(0))
	r.value(`tmworker_transactions_total{kind="activity_ingest",lane="live",outcome="transient"}`, soon, above(0))
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.value(`tmworker_jobs_worked_total{kind="activity_ingest"`, soon, is(61))
	r.value(`tmworker_jobs_failed_total{kind="activity_ingest"`, soon, is(0))
}

// TestConnections causes PoolBusy, PoolTimeouts, ConnectionErrors,
// SlowStatements and WorkerNotReady.
func TestConnections(t *testing.T) {
	t.Parallel()
	through, proxy := proxied(t, dbtest.MigratedURL(t))
	r := newRig(t, through)
	var held []interface{ Release() }
	for range r.pool.Config().MaxConns {
		conn, err := r.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	r.value(`tmworker_pool_utilization_ratio`, soon, is(1))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.pool.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Acquire on an exhausted pool = %v", err)
	}
	for _, conn := range held {
		conn.Release()
	}
	r.value(`tmworker_pool_acquire_timeouts_total`, soon, is(1))
	r.value(`tmworker_pool_utilization_ratio`, soon, is(0))

	r.exec("-- name: injected\nSELECT pg_sleep(0.6)")
	r.value(`tmworker_statements_slow_total{statement="injected"}`, soon, is(1))
	r.value(`tmworker_statement_duration_seconds_bucket{statement="injected",le="0.5"}`, soon, is(0))
	r.value(`tmworker_statement_duration_seconds_sum{statement="injected"}`, soon, above(0.6))

	r.run()
	r.value(`tmworker_ready`, soon, is(1))
	proxy.Stop()
	r.value(`tmworker_connection_errors_total{during="connect"}`, soon, above(5))
	r.value(`tmworker_ready`, soon, is(0))
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	r.value(`tmworker_ready`, soon, is(1))
}

// TestRoundTripsAreConstant: a batch of many jobs takes as many round trips as a batch
// of one.
func TestRoundTripsAreConstant(t *testing.T) {
	t.Parallel()
	trips := func(n int) (worst string) {
		r := newRig(t, dbtest.MigratedURL(t))
		var year []jobs.Activity
		for i := range n {
			year = append(year, activity(int64(i+1), int32(i%90+1), i))
		}
		r.enqueue(year...)
		if err := r.service.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, le := range []string{"2", "3", "4", "5", "6", "8", "10", "15", "20", "+Inf"} {
			upTo, _ := r.metric(`tmworker_transaction_round_trips_bucket{kind="activity_ingest",lane="live",le="` + le + `"}`)
			if all, _ := r.metric(`tmworker_transaction_round_trips_count{kind="activity_ingest",lane="live"}`); upTo == all {
				return le
			}
		}
		return "none"
	}
	if one, many := trips(1), trips(400); one != many || one == "+Inf" || one == "none" {
		t.Errorf("one job takes up to %s round trips and 400 up to %s, want the same", one, many)
	}
}

// deadlockTwiceQuery makes PostgreSQL report two deadlocks without a wait.
const deadlockTwiceQuery = `
CREATE SEQUENCE tries;
CREATE FUNCTION deadlock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF nextval('public.tries') <= 2 THEN RAISE EXCEPTION 'injected' USING ERRCODE = 'deadlock_detected'; END IF;
	RETURN NEW;
END $$;
CREATE TRIGGER deadlock BEFORE INSERT ON activities FOR EACH ROW EXECUTE FUNCTION deadlock()`

// TestDeadlocks causes Deadlocks, which cost no job an attempt.
func TestDeadlocks(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.exec(deadlockTwiceQuery)
	r.enqueue(activity(1, 1, 1))
	if err := r.service.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.value(`tmworker_transactions_total{kind="activity_ingest",lane="live",outcome="deadlock"}`, soon, is(2))
	r.value(`tmworker_batch_retries_total{kind="activity_ingest",lane="live"}`, soon, is(2))
	r.value(`tmworker_jobs_worked_total{kind="activity_ingest",lane="live"}`, soon, is(1))
	r.value(`tmworker_jobs_failed_total`, soon, is(0))
}
