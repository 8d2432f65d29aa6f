package admin

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/localpg"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// never is a number of transactions that no test reaches.
const never = 1 << 30

// holdersServer returns a server of its own, because replication slots, prepared
// transactions and roles are the server's, and the first two need settings.
func holdersServer(t *testing.T) *localpg.Server {
	t.Helper()
	return dbtest.ServerWith(t, map[string]string{
		"fsync": "off", "wal_level": "logical", "max_prepared_transactions": "5",
		"autovacuum":         "off", // its sessions come and go
		"wal_sender_timeout": "0",   // the standbys send feedback once, and answer nothing
	})
}

// asRole returns the URL with another role, whose password is its name.
func asRole(t *testing.T, server, role string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, role)
	return u.String()
}

// connected returns a connection that has run the statements.
func connected(t *testing.T, server string, statements ...string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	return conn
}

// sendFeedback connects like a standby with hot_standby_feedback, which needs the rows
// that the oldest transaction of now sees.
func sendFeedback(t *testing.T, pool *dbpool.Pool, server, slot string) *pgconn.PgConn {
	t.Helper()
	config, err := pgconn.ParseConfig(server)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["replication"], config.RuntimeParams["application_name"] = "true", "replica"
	conn, err := pgconn.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	var xmin int64
	var end string
	if err := pool.QueryRow(t.Context(), `SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_current_wal_flush_lsn()::text`).Scan(&xmin, &end); err != nil {
		t.Fatal(err)
	}
	conn.Frontend().SendQuery(&pgproto3.Query{String: fmt.Sprintf("START_REPLICATION %s PHYSICAL %s", slot, end)})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	for started := false; !started; {
		message, err := conn.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, started = message.(*pgproto3.CopyBothResponse)
	}
	feedback := binary.BigEndian.AppendUint64([]byte{'h'}, 0)
	feedback = binary.BigEndian.AppendUint32(feedback, uint32(xmin))
	feedback = append(feedback, make([]byte, 12)...) // epoch, and no xmin of catalogs
	conn.Frontend().Send(&pgproto3.CopyData{Data: feedback})
	if err := conn.Frontend().Flush(); err != nil {
		t.Fatal(err)
	}
	return conn
}

// holders reads what holds back vacuum for longer, or by more transactions.
func holders(t *testing.T, pool *dbpool.Pool, longer time.Duration, transactions int64) Vacuum {
	t.Helper()
	var v Vacuum
	b := &pgx.Batch{}
	QueueVacuum(b, longer, transactions, &v)
	if err := pool.SendBatch(t.Context(), b).Close(); err != nil {
		t.Fatal(err)
	}
	return v
}

// holder returns the holder whose description contains the text.
func holder(v Vacuum, text string) (found VacuumHolder, ok bool) {
	for _, h := range v.Holders {
		if strings.Contains(h.What, text) {
			return h, true
		}
	}
	return found, false
}

// await waits until a query returns true.
func await(t *testing.T, pool *dbpool.Pool, query string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var done bool
		if err := pool.QueryRow(t.Context(), query).Scan(&done); err != nil {
			t.Fatal(err)
		}
		if done {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", query)
		}
	}
}

// TestVacuumHolders has one of each that holds back vacuum, and some that do not.
func TestVacuumHolders(t *testing.T) {
	t.Parallel()
	server := holdersServer(t)
	pool := dbtest.Open(t, server.URL(""))
	execute(t, pool, `CREATE TABLE rows (n int)`)
	execute(t, pool, `INSERT INTO rows SELECT generate_series(1, 20000)`)
	execute(t, pool, `CREATE DATABASE elsewhere`)

	execute(t, pool, `SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')`)
	execute(t, pool, `SELECT pg_create_physical_replication_slot('away'), pg_create_physical_replication_slot('here')`)
	execute(t, pool, `SELECT pg_create_physical_replication_slot('unused', true)`)
	leaves := sendFeedback(t, pool, server.URL(""), "SLOT away")
	sendFeedback(t, pool, server.URL(""), "SLOT here")
	sendFeedback(t, pool, server.URL(""), "")
	await(t, pool, `SELECT count(xmin) = 2 FROM pg_replication_slots`)
	await(t, pool, `SELECT count(*) = 1 FROM pg_stat_replication WHERE backend_xmin IS NOT NULL`)
	_ = leaves.Close(t.Context())
	await(t, pool, `SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'away'`)

	connected(t, server.URL(""), `BEGIN`, `INSERT INTO rows VALUES (1)`, `PREPARE TRANSACTION 'for''gotten'`)
	connected(t, server.URL(""), `SET application_name = 'report'`, `BEGIN ISOLATION LEVEL REPEATABLE READ`, `SELECT 1`)
	connected(t, server.URL(""), `SET application_name = 'wrote'`, `BEGIN`, `INSERT INTO rows VALUES (1)`) // has an xid, and no snapshot
	connected(t, server.URL(""), `SET application_name = 'harmless'`, `BEGIN`, `SELECT 1`)
	connected(t, server.URL("elsewhere"), `SET application_name = 'elsewhere'`, `BEGIN ISOLATION LEVEL REPEATABLE READ`, `SELECT 1`)
	vacuums := connected(t, server.URL(""), `SET application_name = 'vacuums'`, `SET vacuum_cost_delay = 100`, `SET vacuum_cost_limit = 1`)
	vacuuming, stop := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_, _ = vacuums.Exec(vacuuming, `VACUUM rows`)
	}()
	defer func() { stop(); <-stopped }()
	await(t, pool, `SELECT count(*) = 1 FROM pg_stat_progress_vacuum JOIN pg_stat_activity USING (pid) WHERE backend_xmin IS NOT NULL`)
	for range 50 {
		execute(t, pool, `SELECT pg_current_xact_id()`)
	}

	v := holders(t, pool, 0, 40)
	for _, want := range []struct {
		what, cure string
		timed      bool
	}{
		{"(report)", "SELECT pg_terminate_backend(", true},
		{"(wrote)", "SELECT pg_terminate_backend(", true},
		{"prepared transaction 'for''gotten'", "ROLLBACK PREPARED 'for''gotten'", true},
		{"standby replica, by hot_standby_feedback", "hot_standby_feedback = off", false},
		{"replication slot cdc, of catalogs only, which nobody reads", "SELECT pg_drop_replication_slot('cdc')", false},
		{"replication slot away, which nobody reads", "SELECT pg_drop_replication_slot('away')", false},
		{"replication slot here", "hot_standby_feedback = off", false},
	} {
		got, ok := holder(v, want.what)
		if !ok || !strings.Contains(got.Cure, want.cure) || got.Transactions < 40 || (want.timed && got.Age <= 0) {
			t.Errorf("%s = %+v, want it to hold back 40 transactions or more, and %s", want.what, got, want.cure)
		}
	}
	if len(v.Holders) != 7 || v.HiddenFrom != "" {
		t.Errorf("holders of a superuser = %+v, want these seven, and none hidden", v)
	}
	if recent := holders(t, pool, time.Hour, never); strings.Contains(fmt.Sprint(recent), "session") || strings.Contains(fmt.Sprint(recent), "prepared") {
		t.Errorf("holders for an hour = %+v, want none by time", recent)
	}
	if _, ok := holder(holders(t, pool, 0, never), "standby"); ok {
		t.Errorf("a standby that holds back few transactions is named")
	}

	execute(t, pool, `ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'`)
	execute(t, pool, `SELECT pg_reload_conf()`)
	for range 4 {
		execute(t, pool, `INSERT INTO rows VALUES (1)`)
		execute(t, pool, `SELECT pg_switch_wal()`)
	}
	execute(t, pool, `CHECKPOINT`)
	await(t, pool, `SELECT wal_status = 'lost' AND catalog_xmin IS NOT NULL FROM pg_replication_slots WHERE slot_name = 'cdc'`)
	if got, ok := holder(holders(t, pool, 0, 1), "cdc"); ok {
		t.Errorf("%+v holds nothing back, because its WAL is gone", got)
	}
}

// TestVacuumHoldersOfOtherRoles: a role without pg_read_all_stats sees how many
// transactions a session of another role holds back, and not for how long.
func TestVacuumHoldersOfOtherRoles(t *testing.T) {
	t.Parallel()
	server := holdersServer(t)
	pool := dbtest.Open(t, server.URL(""))
	execute(t, pool, `CREATE ROLE "Worker" LOGIN PASSWORD 'Worker'`)
	execute(t, pool, `CREATE ROLE app LOGIN PASSWORD 'app'`)
	connected(t, asRole(t, server.URL(""), "app"), `SET application_name = 'webapp'`, `BEGIN`, `SELECT pg_current_xact_id()`)
	sendFeedback(t, pool, server.URL(""), "")
	await(t, pool, `SELECT count(*) = 1 FROM pg_stat_replication WHERE backend_xmin IS NOT NULL`)
	for range 50 {
		execute(t, pool, `SELECT pg_current_xact_id()`)
	}
	mine := dbtest.Open(t, asRole(t, server.URL(""), "Worker"))
	if v := holders(t, mine, 0, never); len(v.Holders) != 0 || v.HiddenFrom != `"Worker"` {
		t.Errorf("holders = %+v, want none, and the role from which some may be hidden", v)
	}
	v := holders(t, mine, time.Hour, 40)
	for _, what := range []string{"(webapp)", "standby replica"} {
		if got, ok := holder(v, what); !ok || got.Age != 0 || got.Transactions < 40 {
			t.Errorf("%s = %+v, want it by transactions, for an unknown time", what, got)
		}
	}
	execute(t, pool, `GRANT pg_read_all_stats TO "Worker"`)
	v = holders(t, mine, 0, never)
	if got, ok := holder(v, "(webapp)"); !ok || got.Age <= 0 || v.HiddenFrom != "" {
		t.Errorf("with pg_read_all_stats: %+v, want the session, and for how long", v)
	}
}
