package operations_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/dbtest"
)

// noticed is how soon /readyz has to tell.
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
	r.turns("", noticed)
	proxy.Stop()
	r.turns("database", noticed)
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	r.turns("", 2*noticed) // River waits before it tries again
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

// TestReadyzWhenFetchingStalls has another session lock the table of jobs: the
// database answers, the migrations are right, and no fetch gets anywhere.
func TestReadyzWhenFetchingStalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.run()
	r.turns("", noticed)
	tx, err := r.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), `LOCK TABLE river.river_job IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	r.turns("fetching", noticed)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.turns("", noticed)
}

// polledOften makes a queue count as stalled after little more than 4 s.
func polledOften(c *config.Config) { c.River.FetchPollInterval = 100 * time.Millisecond }

// stallRecalcQuery plants a stall in one queue: who takes its jobs waits until
// there is a row in released.
const stallRecalcQuery = `
CREATE TABLE released (at timestamptz);
CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	WHILE NOT EXISTS (SELECT FROM public.released) LOOP PERFORM pg_sleep(0.05); END LOOP;
	RETURN NEW;
END $$;
CREATE TRIGGER stall BEFORE UPDATE ON river.river_job FOR EACH ROW WHEN (NEW.queue = 'recalc' AND NEW.state = 'running') EXECUTE FUNCTION stall();
INSERT INTO river.river_job (kind, queue, args, max_attempts) VALUES ('acwr_recalc', 'recalc', '{"ranges": []}', 25)`

func TestReadyzNamesTheQueueThatStalls(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t), polledOften)
	r.run()
	r.turns("", noticed)
	r.exec(stallRecalcQuery)
	r.turns("fetching", noticed)
	if got := r.readyz().Reasons; len(got) != 1 || !strings.HasPrefix(got[0].Reason, "queue recalc: nothing was fetched for ") {
		t.Errorf("reasons = %v, want queue recalc alone", got)
	}
	r.exec(`INSERT INTO released VALUES (now())`)
	r.turns("", noticed)
}

// TestReadyzWhileAQueueIsPaused expects nothing of a paused queue, and does not
// blame it when it is resumed.
func TestReadyzWhileAQueueIsPaused(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t), polledOften)
	r.run()
	r.turns("", noticed)
	if err := r.service.Client().QueuePause(t.Context(), "recalc", nil); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(6 * time.Second); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
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
	r.turns("", noticed)
	r.exec(`CREATE TABLE kept AS SELECT * FROM river.river_migration ORDER BY version DESC LIMIT 1`)
	r.exec(`DELETE FROM river.river_migration WHERE version = (SELECT version FROM kept)`)
	r.turns("migrations", noticed)
	r.exec(`INSERT INTO river.river_migration SELECT * FROM kept`)
	r.turns("", noticed)
}

// TestReadyzWhileDraining keeps a transaction of the worker waiting, so that
// draining takes as long as the test needs.
func TestReadyzWhileDraining(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.MigratedURL(t)
	r := newRig(t, databaseURL)
	r.run()
	r.turns("", noticed)
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
		if v, _ := r.metric(`tmworker_jobs_executing{queue="ingest"}`); v == "1" {
			break
		}
		if time.Now().After(until) {
			t.Fatal("the job was never taken")
		}
	}
	r.stop()
	r.turns("draining", noticed)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.end()
	again := newRig(t, databaseURL)
	again.run()
	again.turns("", noticed)
}
