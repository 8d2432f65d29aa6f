package workers

import (
	"context"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestRiversMaintenanceStaysOff: where the service's River client is the leader, River's
// cleaner deletes no jobs, however old, its rescuer ends none, and its reindexer rebuilds no
// index. In another database a client without the service's settings does both to the same
// jobs.
func TestRiversMaintenanceStaysOff(t *testing.T) {
	t.Parallel()
	pool, other := dbtest.Migrated(t), dbtest.Migrated(t)
	const (
		oldJobs = `INSERT INTO river.river_job (kind, queue, args, max_attempts, attempt, state, attempted_at, finalized_at)
			SELECT 'acwr_recalc', 'recalc', '{}', 25, 1, state, now() - interval '1 year', CASE WHEN state <> 'running' THEN now() - interval '1 year' END
			FROM unnest(ARRAY['completed', 'cancelled', 'discarded', 'running']::river.river_job_state[]) AS state`
		states = `SELECT coalesce(string_agg(state::text, ' ' ORDER BY state::text), '') FROM river.river_job`
		files  = `SELECT string_agg(format('%s %s', indexrelid::regclass, pg_relation_filenode(indexrelid)), ', ' ORDER BY indexrelid) FROM pg_index WHERE indrelid = 'river.river_job'::regclass`
	)
	execute(t, pool, oldJobs)
	execute(t, other, oldJobs)
	before := query[string](t, pool, files)

	log := &buffer{}
	client, err := newRiverClient(pool, config.Default(), "maintained", &queue.Clock{}, &tokenWorker{}, slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	reindexSoon(t, client)
	startRiver(t, client)
	wait := func(what string, is func() bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not within 30 s", what)
			}
		}
	}
	for _, message := range []string{"JobCleaner: Run loop started", "JobRescuer: Run loop started", "Reindexer: Ran successfully"} {
		wait(message, func() bool { return strings.Contains(log.String(), message) })
	}
	startRiver(t, unchangedRiver(t, other))
	wait("old jobs deleted and one discarded by River's settings", func() bool { return query[string](t, other, states) == "discarded" })
	if got, want := query[string](t, pool, states), "cancelled completed discarded running"; got != want {
		t.Errorf("of the old jobs there remain: %q, want %q", got, want)
	}
	if after := query[string](t, pool, files); after != before {
		t.Errorf("indexes were rebuilt: %s, want %s", after, before)
	}
}

// reindexSoon changes when the client's reindexer runs, which is at midnight otherwise.
func reindexSoon(t *testing.T, client *river.Client[pgx.Tx]) {
	t.Helper()
	services := reflect.ValueOf(client).Elem().FieldByName("queueMaintainer").Elem().FieldByName("servicesByName")
	for _, name := range services.MapKeys() {
		if !strings.HasSuffix(name.String(), ".Reindexer") {
			continue
		}
		schedule := services.MapIndex(name).Elem().Elem().FieldByName("Config").Elem().FieldByName("ScheduleFunc")
		soon := func(time.Time) time.Time { return time.Now().Add(100 * time.Millisecond) }
		reflect.NewAt(schedule.Type(), schedule.Addr().UnsafePointer()).Elem().Set(reflect.ValueOf(soon))
		return
	}
	t.Fatal("River has no service named Reindexer")
}

// unchangedRiver returns a client with River's own settings.
func unchangedRiver(t *testing.T, pool *dbpool.Pool) *river.Client[pgx.Tx] {
	t.Helper()
	registered := river.NewWorkers()
	river.AddWorker(registered, &tokenWorker{})
	client, err := river.NewClient(riverpgxv5.New(pool.Pool), &river.Config{
		Workers: registered, Queues: map[string]river.QueueConfig{queueMaintenance: {MaxWorkers: 1}},
		Schema: dbtest.RiverSchema, TestOnly: true, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func startRiver(t *testing.T, client *river.Client[pgx.Tx]) {
	t.Helper()
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}
