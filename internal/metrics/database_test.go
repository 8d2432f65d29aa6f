package metrics

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestInactiveSlotReachesTheAlert: a slot that nobody reads holds back vacuum for a time
// that PostgreSQL knows from 17 on, and by transactions that it always knows.
func TestInactiveSlotReachesTheAlert(t *testing.T) {
	t.Parallel()
	server := dbtest.ServerWith(t, map[string]string{"wal_level": "logical", "synchronous_commit": "off"})
	pool := dbtest.Open(t, server.URL(""))
	execute := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	if _, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	watch := admin.NewWatch(pool, admin.Options{RiverSchema: dbtest.RiverSchema, Timeout: time.Minute}, slog.New(slog.DiscardHandler))
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectDatabase(watch))
	heldBackBy := func() float64 {
		t.Helper()
		if err := watch.TakeSnapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "tmworker_vacuum_held_back_transactions" {
				return family.GetMetric()[0].GetGauge().GetValue()
			}
		}
		t.Fatal("no tmworker_vacuum_held_back_transactions")
		return 0
	}
	if got := heldBackBy(); got != 0 {
		t.Errorf("held back by %v transactions, want 0 without a slot", got)
	}
	execute(`SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')`)
	execute(`CREATE TABLE counted (n int)`)
	execute(`CREATE PROCEDURE consume(n int) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1..n LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$`)
	execute(`CALL consume(100001)`)
	if got := heldBackBy(); got <= admin.HeldBackBy {
		t.Errorf("held back by %v transactions, want more than %d, on which the alert fires", got, admin.HeldBackBy)
	}
}
