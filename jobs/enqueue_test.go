package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func newEnqueuer(t *testing.T, pool *dbpool.Pool) *Enqueuer {
	t.Helper()
	e, err := NewEnqueuer(pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// activities returns n valid activities.
func activities(n int) []Activity {
	list := make([]Activity, n)
	for i := range list {
		list[i] = Activity{ActivityID: int64(i + 1), UserID: 1, Date: "2025-01-01"}
	}
	return list
}

// enqueued describes all jobs in the order of their ids.
func enqueued(t *testing.T, pool *dbpool.Pool) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
		SELECT concat_ws(' ', id, kind, queue, priority, state, jsonb_array_length(coalesce(args->'activities', args->'ranges')))
		FROM river.river_job ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// listener returns a function that waits for n notifications and returns their queues,
// sorted. With n = 0 it waits briefly for none.
func listener(t *testing.T, url string) func(n int) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	if _, err := conn.Exec(t.Context(), `LISTEN "river.river_insert"`); err != nil {
		t.Fatal(err)
	}
	return func(n int) []string {
		t.Helper()
		var queues []string
		for range max(n, 1) {
			// Notifications arrive with the answer to the next statement at the latest.
			ctx, cancel := context.WithTimeout(t.Context(), map[bool]time.Duration{true: 5 * time.Second, false: 100 * time.Millisecond}[n > 0])
			defer cancel()
			notification, err := conn.WaitForNotification(ctx)
			if err != nil {
				if n > 0 {
					t.Errorf("notified of %v only: %v", queues, err)
				}
				break
			}
			var payload struct{ Queue string }
			if err := json.Unmarshal([]byte(notification.Payload), &payload); err != nil {
				t.Fatalf("payload %s: %v", notification.Payload, err)
			}
			queues = append(queues, payload.Queue)
		}
		slices.Sort(queues)
		return queues
	}
}

func TestLanes(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	e := newEnqueuer(t, pool)
	for _, c := range []struct{ priority, n int }{
		{PriorityLive, 1}, {PriorityLive, MaxLiveActivities}, {PriorityLive, MaxLiveActivities + 1}, {2, 1}, {PriorityBulk, 1}, {4, 1000},
	} {
		if _, err := e.Ingest(t.Context(), c.priority, ActivityIngest{activities(c.n)}); err != nil {
			t.Fatalf("Ingest(priority %d, %d activities) = %v", c.priority, c.n, err)
		}
	}
	for _, priority := range []int{PriorityLive, 2, PriorityBulk} {
		if _, err := e.Recalc(t.Context(), priority, ACWRRecalc{[]DateRange{{1, "2025-01-01", "2025-01-02"}}}); err != nil {
			t.Fatalf("Recalc(priority %d) = %v", priority, err)
		}
	}
	want := []string{
		"1 activity_ingest ingest 1 available 1",
		"2 activity_ingest ingest 1 available 25",
		"3 activity_ingest ingest_bulk 1 available 26",
		"4 activity_ingest ingest_bulk 2 available 1",
		"5 activity_ingest ingest_bulk 3 available 1",
		"6 activity_ingest ingest_bulk 4 available 1000",
		"7 acwr_recalc recalc 1 available 1",
		"8 acwr_recalc recalc_bulk 2 available 1",
		"9 acwr_recalc recalc_bulk 3 available 1",
	}
	if diff := cmp.Diff(want, enqueued(t, pool)); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
	// A caller's own River client uses the live lane by default.
	for args, want := range map[river.JobArgsWithInsertOpts]string{
		&ActivityIngest{activities(25)}: QueueIngest, &ActivityIngest{activities(26)}: QueueIngestBulk, &ACWRRecalc{}: QueueRecalc,
	} {
		if got := args.InsertOpts(); got.Queue != want || got.Priority != PriorityLive {
			t.Errorf("InsertOpts of %T = %+v, want queue %s", args, got, want)
		}
	}
}

func TestInsertingWakesEveryQueueConcerned(t *testing.T) {
	t.Parallel()
	url := dbtest.MigratedURL(t)
	pool := dbtest.Open(t, url)
	notified := listener(t, url)
	e := newEnqueuer(t, pool)
	both := []ActivityIngest{{activities(1)}, {activities(30)}, {activities(2)}}
	for range 3 { // every time: River itself would notify only the first time
		ids, err := e.Ingest(t.Context(), PriorityLive, both...)
		if err != nil || len(ids) != 3 || !slices.IsSorted(ids) {
			t.Fatalf("Ingest() = %v, %v, want three ids in order", ids, err)
		}
		if got := slices.Compact(notified(3)); !slices.Contains(got, QueueIngest) || !slices.Contains(got, QueueIngestBulk) {
			t.Errorf("notified of %v, want both lanes", got)
		}
		drainNotifications(t, notified)
	}
	if ids, err := e.Ingest(t.Context(), PriorityLive); err != nil || len(ids) != 0 {
		t.Errorf("Ingest() of nothing = %v, %v", ids, err)
	}
}

// TestPromisedQueuesAreNotNotified: transactions that notify commit one after the other.
// While workers have promised to poll, only River notifies, once for several inserts.
func TestPromisedQueuesAreNotNotified(t *testing.T) {
	t.Parallel()
	url := dbtest.MigratedURL(t)
	pool := dbtest.Open(t, url)
	notified := listener(t, url)
	if _, err := pool.Exec(t.Context(), `UPDATE river.worker_promises SET awake_until = clock_timestamp() + interval '1 hour' WHERE queue = 'ingest'`); err != nil {
		t.Fatal(err)
	}
	e := newEnqueuer(t, pool)
	began := time.Now()
	for range 20 {
		if _, err := e.Ingest(t.Context(), PriorityLive, ActivityIngest{activities(1)}); err != nil {
			t.Fatal(err)
		}
	}
	rivers := 1 + int(time.Since(began)/river.FetchCooldownDefault)
	got := 0
	for len(notified(0)) > 0 {
		got++
	}
	if got > rivers {
		t.Errorf("notified %d times, want %d at most", got, rivers)
	}
}

func drainNotifications(t *testing.T, notified func(int) []string) {
	t.Helper()
	for len(notified(0)) > 0 {
	}
}

// TestCallersTransactionDecides inserts in the caller's transaction.
func TestCallersTransactionDecides(t *testing.T) {
	t.Parallel()
	url := dbtest.MigratedURL(t)
	pool := dbtest.Open(t, url)
	notified := listener(t, url)
	e := newEnqueuer(t, pool)
	insert := func(commit bool) {
		t.Helper()
		err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			ids, err := e.IngestTx(t.Context(), tx, PriorityLive, ActivityIngest{activities(1)})
			if err != nil || len(ids) != 1 {
				return fmt.Errorf("IngestTx() = %v, %w", ids, err)
			}
			if _, err := e.RecalcTx(t.Context(), tx, PriorityBulk, ACWRRecalc{[]DateRange{{1, "2025-01-01", "2025-01-01"}}}); err != nil {
				return err
			}
			if !commit {
				return errors.New("changed my mind")
			}
			return nil
		})
		if (err == nil) != commit {
			t.Fatal(err)
		}
	}
	insert(false)
	if got := append(enqueued(t, pool), notified(0)...); len(got) > 0 {
		t.Errorf("after a rollback: %v", got)
	}
	insert(true)
	if got := enqueued(t, pool); len(got) != 2 {
		t.Errorf("after a commit: jobs %v, want two", got)
	}
	got := notified(2)
	for range 3 {
		got = append(got, notified(0)...)
	}
	slices.Sort(got)
	if got, want := strings.Join(slices.Compact(got), " "), "ingest recalc_bulk"; got != want {
		t.Errorf("after a commit: notified of %q, want %q", got, want)
	}
}

func TestInvalidJobInsertsNothing(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	e := newEnqueuer(t, pool)
	tooLong := activities(3)
	text := strings.Repeat("x", MaxTextBytes+1)
	tooLong[1].Name = &text
	for want, job := range map[string]ActivityIngest{
		"activity_ingest job 1: activities: a job takes at most 1000, got 1001":                                    {activities(1001)},
		"activity_ingest job 1: activities: a job needs at least one":                                              {},
		"activity_ingest job 1: activities[1] (activity_id 2): name: is longer than 4096 bytes (4097)":             {tooLong},
		"activity_ingest job 1: activities[0] (activity_id 0): activity_id: must be a positive integer, got 0; us": {[]Activity{{}}},
	} {
		if _, err := e.Ingest(t.Context(), PriorityLive, ActivityIngest{activities(1)}, job, ActivityIngest{activities(1)}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Ingest() = %v, want %s", err, want)
		}
	}
	for want, job := range map[string]ACWRRecalc{
		"acwr_recalc job: ranges: a job needs at least one":                                                  {},
		"acwr_recalc job: ranges: a job takes at most 10000, got 10001":                                      {make([]DateRange, 10_001)},
		"acwr_recalc job: ranges[1]: to: must not lie before from (2025-01-02), got 2025-01-01":              {[]DateRange{{1, "2025-01-01", "2025-01-01"}, {1, "2025-01-02", "2025-01-01"}}},
		"acwr_recalc job: ranges[0]: user_id: must be a positive integer, got 0; from: is required, as YYYY": {[]DateRange{{}}},
	} {
		if _, err := e.Recalc(t.Context(), PriorityLive, job); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Recalc() = %v, want %s", err, want)
		}
	}
	if got := enqueued(t, pool); len(got) > 0 {
		t.Errorf("jobs inserted: %v", got)
	}
}

func TestStatements(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sizes []int // activities in each job
		want  []int // jobs in each statement
	}{
		{nil, nil},
		{[]int{1}, []int{1}},
		{slices.Repeat([]int{1}, 2500), []int{1000, 1000, 500}},
		{slices.Repeat([]int{1000}, 12), []int{5, 5, 2}},
		{[]int{4999, 1, 1}, []int{2, 1}},
		{[]int{1, 6000, 6000, 1}, []int{1, 1, 1, 1}},
	} {
		var params []river.InsertManyParams
		for i, n := range c.sizes {
			params = append(params, river.InsertManyParams{Args: ActivityIngest{make([]Activity, n)}, InsertOpts: &river.InsertOpts{Priority: i}})
		}
		var got []int
		next := 0
		for part := range statements(params) {
			got = append(got, len(part))
			for _, p := range part {
				if p.InsertOpts.Priority != next {
					t.Fatalf("job %d in place of %d", p.InsertOpts.Priority, next)
				}
				next++
			}
		}
		if !slices.Equal(got, c.want) || next != len(params) {
			t.Errorf("statements(%v) = %v with %d jobs, want %v", c.sizes, got, next, c.want)
		}
	}
}

// beAhead dates jobs as a machine does whose clock is ahead by an interval.
func beAhead(t *testing.T, pool *dbpool.Pool, interval string) {
	t.Helper()
	for _, sql := range []string{
		`CREATE FUNCTION be_ahead() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			NEW.created_at := NEW.created_at + interval '` + interval + `';
			NEW.scheduled_at := NEW.scheduled_at + interval '` + interval + `';
			RETURN NEW;
		END $$`,
		`CREATE TRIGGER be_ahead BEFORE INSERT ON river.river_job FOR EACH ROW EXECUTE FUNCTION be_ahead()`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDatedByTheServersClock: a machine whose clock is wrong dates the jobs that it inserts.
func TestDatedByTheServersClock(t *testing.T) {
	t.Parallel()
	for _, ahead := range []string{"5 minutes", "-5 minutes"} {
		t.Run(ahead, func(t *testing.T) {
			t.Parallel()
			pool := dbtest.Migrated(t)
			beAhead(t, pool, ahead)
			if _, err := newEnqueuer(t, pool).Recalc(t.Context(), PriorityLive, ACWRRecalc{Ranges: []DateRange{{UserID: 1, From: "2025-01-01", To: "2025-01-02"}}}); err != nil {
				t.Fatal(err)
			}
			var datedNow bool
			const datedNowQuery = `
				SELECT bool_and(t BETWEEN clock_timestamp() - interval '1 minute' AND clock_timestamp())
				FROM river.river_job, unnest(ARRAY[created_at, scheduled_at]) AS t`
			if err := pool.QueryRow(t.Context(), datedNowQuery).Scan(&datedNow); err != nil || !datedNow {
				t.Errorf("dated now = %t, %v", datedNow, err)
			}
		})
	}
}

// TestEnqueuingReadsNoQueue: a connection that planned its statements while the queue
// was empty does not read the jobs waiting now, even on a machine whose clock is wrong.
func TestEnqueuingReadsNoQueue(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]string{"clock right": "0", "clock ahead": "5 minutes", "clock behind": "-5 minutes"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := dbtest.Migrated(t)
			if _, err := pool.Exec(t.Context(), `ALTER TABLE river.river_job SET (autovacuum_enabled = off)`); err != nil {
				t.Fatal(err)
			}
			beAhead(t, pool, ahead)
			enqueuer := newEnqueuer(t, pool)
			conn, err := pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Release()
			const scansQuery = `SELECT pg_stat_get_xact_numscans('river.river_job'::regclass)`
			enqueue := func(jobs int) (scans int) {
				var before, after int
				err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
					args := make([]ActivityIngest, jobs)
					for i := range args {
						args[i].Activities = activities(1)
					}
					if err := tx.QueryRow(t.Context(), scansQuery).Scan(&before); err != nil {
						return err
					}
					if _, err := enqueuer.IngestTx(t.Context(), tx, PriorityLive, args...); err != nil {
						return err
					}
					return tx.QueryRow(t.Context(), scansQuery).Scan(&after)
				})
				if err != nil {
					t.Fatal(err)
				}
				return after - before
			}
			for range 10 { // from the sixth execution on, PostgreSQL may keep a plan
				enqueue(1)
			}
			enqueue(1000)
			if scans := enqueue(1); scans > 0 {
				t.Errorf("enqueuing a job read the whole queue %d times", scans)
			}
		})
	}
}
