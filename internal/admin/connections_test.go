package admin

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestConnections: sessions of the server, of the role and of the database count against the limit
// of each, also for a role that does not see what the others do.
func TestConnections(t *testing.T) {
	t.Parallel()
	server := dbtest.ServerWith(t, map[string]string{"fsync": "off", "max_connections": "30", "superuser_reserved_connections": "3", "autovacuum": "off"})
	o := dbtest.Options(server.URL(""))
	o.MaxConns = 1
	pool, err := dbpool.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	execute(t, pool, `CREATE ROLE worker LOGIN PASSWORD 'worker'`)
	o.URL = asRole(t, server.URL(""), "worker")
	mine, err := dbpool.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	execute(t, mine, `SELECT 1`)
	for range 4 {
		connected(t, server.URL(""))
	}
	check := func(limit string, want Connections) {
		t.Helper()
		execute(t, pool, limit)
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) { // until sessions that were closed have ended
			var got Connections
			b := &pgx.Batch{}
			queueConnections(b, &got)
			err := mine.SendBatch(t.Context(), b).Close()
			if err == nil && got == want {
				return
			}
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("connections after %s = %+v, %v, want %+v", limit, got, err, want)
			}
		}
	}
	check(`SELECT 1`, Connections{Total: 27, Free: 21})
	check(`ALTER ROLE worker CONNECTION LIMIT 5`, Connections{Total: 5, Free: 4})
	check(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 8', current_database()); END $$`, Connections{Total: 5, Free: 2})
	check(`ALTER ROLE worker CONNECTION LIMIT -1`, Connections{Total: 8, Free: 2})
	check(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 4', current_database()); END $$`, Connections{Total: 4, Free: 0})
}

// TestFindingsOnConnections at their limits.
func TestFindingsOnConnections(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		connections Connections
		worker      int
		want        string // in the finding; empty for none
	}{
		{Connections{97, 27}, 27, ""},
		{Connections{97, 26}, 27, "26 of 97 connections are free, and a worker takes up to 27"},
		{Connections{97, 5}, 27, "5 of 97 connections are free"},
		{Connections{97, 4}, 27, "nearly used up: 4 of 97 are free"},
		{Connections{97, 4}, 3, "nearly used up: 4 of 97 are free"},
		{Connections{97, 0}, 0, ""},
	} {
		s := Snapshot{Processes: []Process{{Alive: true}}, Connections: c.connections, WorkerConnections: c.worker}
		var found string
		for _, f := range s.Findings() {
			if f.Severity != Warning || f.Do == "" {
				t.Errorf("%+v, want a warning and what to do", f)
			}
			found += f.What
		}
		if (found == "") != (c.want == "") || !strings.Contains(found, c.want) {
			t.Errorf("with %+v and workers of %d: %q, want %q", c.connections, c.worker, found, c.want)
		}
	}
}
