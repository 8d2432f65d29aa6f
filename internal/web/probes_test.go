package web_test

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/web"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// noticed is how soon /readyz must report a condition.
const noticed = 10 * time.Second

func TestHealthzAnswersWithoutAnything(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.pool.Close()
	if got := r.get("/healthz"); got.Code != 200 || got.Body.String() != "{\"alive\":true}\n" {
		t.Errorf("/healthz = %d %q", got.Code, got.Body)
	}
}

func TestReadyzWhenTheDatabaseStops(t *testing.T) {
	t.Parallel()
	through, proxy := proxied(t, dbtest.MigratedURL(t))
	r := newRig(t, through)
	if got := r.readyz(); got.Ready {
		t.Error("ready before anything was checked")
	}
	r.run()
	r.waitForReason("", noticed)
	proxy.Stop()
	r.waitForReason("database", noticed)
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	r.waitForReason("", 2*noticed) // River waits before it retries
}

// TestReadyzWhenNothingCanBeWritten: after a failover the worker's server is no longer
// the primary, or transactions were made read-only.
func TestReadyzWhenNothingCanBeWritten(t *testing.T) {
	t.Parallel()
	database := dbtest.MigratedURL(t)
	r := newRig(t, database)
	r.run()
	r.waitForReason("", noticed)
	admin, err := pgx.Connect(t.Context(), database) // not a pool, whose other connections would end too
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(context.WithoutCancel(t.Context())) }()
	for _, c := range []struct{ alter, check string }{{"SET default_transaction_read_only = on", "writes"}, {"RESET default_transaction_read_only", ""}} {
		alter := `SET TRANSACTION READ WRITE; DO $$ BEGIN EXECUTE format('ALTER DATABASE %I ` + c.alter + `', current_database()); END $$;
			SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`
		if _, err := admin.Exec(t.Context(), alter); err != nil {
			t.Fatal(err)
		}
		r.waitForReason(c.check, noticed)
	}
}

// proxied returns the URL of the database through a proxy that can be stopped.
func proxied(t *testing.T, databaseURL string) (through string, proxy *toxiproxy.Proxy) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	proxy = toxiproxy.NewProxy(server, "postgres", "127.0.0.1:0", u.Host)
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	u.Host = proxy.Listen
	return u.String(), proxy
}

// stallsSoon makes a queue count as stalled after just over 8 s.
func stallsSoon(c *config.Config) {
	c.River.FetchPollInterval, c.Batching.TransactionTimeout = 100*time.Millisecond, time.Second
}

// TestReadyzWhenClaimingStalls has another session lock the job table: the database
// answers, the migrations are up to date, and no claim succeeds.
func TestReadyzWhenClaimingStalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t), stallsSoon)
	r.run()
	r.waitForReason("", noticed)
	tx, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), `LOCK TABLE river.river_job IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	r.waitForReason("claiming", 2*noticed)
	saysIngest := func(reason web.Reason) bool {
		return strings.HasPrefix(reason.Reason, "queue ingest: nothing was claimed for ")
	}
	for deadline := time.Now().Add(noticed); !slices.ContainsFunc(r.readyz().Reasons, saysIngest); time.Sleep(50 * time.Millisecond) { // each queue has its own limit
		if time.Now().After(deadline) {
			t.Fatalf("reasons = %v, want also one that nothing was claimed from ingest", r.readyz().Reasons)
		}
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.waitForReason("", noticed)
}

// TestReadyzNamesTheQueueThatStandsStill removes a table that only one kind of job
// needs, and restores it: no restart is necessary, and no attempt is spent.
func TestReadyzNamesTheQueueThatStandsStill(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ queue, kind, table, args string }{
		{"ingest", "activity_ingest", "ingest_versions", `{"activities": [{"activity_id": 1, "user_id": 1, "date": "2025-01-01"}]}`},
		{"backfill", "acwr_backfill", "acwr_backfill_chunks", `{"backfill_id": 1, "chunk": 1}`},
	} {
		t.Run(c.queue, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, dbtest.MigratedURL(t))
			r.run()
			r.waitForReason("", noticed)
			r.exec(`ALTER TABLE ` + c.table + ` RENAME TO hidden`)
			r.exec(`INSERT INTO river.river_job (kind, queue, args, max_attempts) VALUES ($1, $2, $3, 1)`, c.kind, c.queue, c.args)
			r.waitForReason("claiming", noticed)
			want := "queue " + c.queue + " stands still, which is no job's fault: "
			if got := r.readyz().Reasons; len(got) != 1 || !strings.HasPrefix(got[0].Reason, want) || !strings.Contains(got[0].Reason, `relation "`+c.table+`" does not exist`) {
				t.Errorf("reasons = %v, want queue %s only, and the missing table", got, c.queue)
			}
			if page := r.get("/").Body.String(); strings.Count(page, "stands still</span>") != 1 {
				t.Error("the page does not show one stalled lane")
			}
			r.exec(`ALTER TABLE hidden RENAME TO ` + c.table)
			r.waitForReason("", noticed)
			r.value(`tmworker_jobs_worked_total{kind="`+c.kind+`"`, noticed, is(1))
		})
	}
}

// TestReadyzWhileAQueueIsPaused: a paused queue does not count as stalled, not even just
// after it is resumed.
func TestReadyzWhileAQueueIsPaused(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t), stallsSoon)
	r.run()
	r.waitForReason("", noticed)
	if err := r.service.Client().QueuePause(t.Context(), "recalc", nil); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		if got := r.readyz(); !got.Ready {
			t.Fatalf("/readyz = %+v while a queue is paused", got)
		}
	}
	if err := r.service.Client().QueueResume(t.Context(), "recalc", nil); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if got := r.readyz(); !got.Ready {
			t.Fatalf("/readyz = %+v after the queue was resumed", got)
		}
	}
}

func TestReadyzWhenAMigrationIsMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.run()
	r.waitForReason("", noticed)
	r.exec(`CREATE TABLE kept AS SELECT * FROM river.river_migration ORDER BY version DESC LIMIT 1`)
	r.exec(`DELETE FROM river.river_migration WHERE version = (SELECT version FROM kept)`)
	r.waitForReason("migrations", noticed)
	r.exec(`INSERT INTO river.river_migration SELECT * FROM kept`)
	r.waitForReason("", noticed)
}

// TestReadyzWhileDraining blocks a transaction of the worker, so that draining takes as
// long as the test needs.
func TestReadyzWhileDraining(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.MigratedURL(t)
	r := newRig(t, databaseURL)
	r.run()
	r.waitForReason("", noticed)
	other := dbtest.Open(t, databaseURL)
	tx, err := other.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), `LOCK TABLE activities IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	r.enqueue(activity(1, 1, 1))
	for until := time.Now().Add(noticed); ; time.Sleep(10 * time.Millisecond) {
		var waits bool
		if err := tx.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'activities'::regclass AND NOT granted)`).Scan(&waits); err != nil {
			t.Fatal(err)
		}
		if waits {
			break
		}
		if time.Now().After(until) {
			t.Fatal("the job was never claimed")
		}
	}
	r.stop()
	r.waitForReason("draining", noticed)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.end()
	again := newRig(t, databaseURL)
	again.run()
	again.waitForReason("", noticed)
}
