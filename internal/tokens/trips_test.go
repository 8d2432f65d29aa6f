package tokens_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/tokens"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// tripCounter counts round trips: statements, and batches as one each.
type tripCounter struct{ trips atomic.Int64 }

func (c *tripCounter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.trips.Add(1)
	return ctx
}
func (c *tripCounter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (c *tripCounter) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	c.trips.Add(1)
	return ctx
}
func (c *tripCounter) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (c *tripCounter) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

// TestSavesTakeConstantRoundTrips compares 1,000 saves with the application's way: a
// connection for each query.
func TestSavesTakeConstantRoundTrips(t *testing.T) {
	const users, baselineUsers = 1000, 20
	url := dbtest.MigratedURL(t)
	counter := &tripCounter{}
	o := dbtest.Options(url)
	o.Tracer, o.MaxConns = counter, 1
	pool, err := dbpool.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	ring := keys(t, "k1")
	store := tokens.New(pool, ring, dbtest.RiverSchema)
	measure := func(operations []tokens.Operation) (trips, acquired int64, took time.Duration) {
		t.Helper()
		trips, acquired = counter.trips.Load(), pool.Stat().AcquireCount()
		started := time.Now()
		saved(t, store, operations...)
		return counter.trips.Load() - trips, pool.Stat().AcquireCount() - acquired, time.Since(started)
	}
	oneTrips, oneConn, _ := measure([]tokens.Operation{first(users + 1)})
	if oneConn != 1 {
		t.Errorf("one save and its audit took %d connections, want 1", oneConn)
	}
	for range 2 { // first new users, then known ones
		var operations []tokens.Operation
		for user := range int32(users) {
			operations = append(operations, first(user+1))
		}
		before := text(t, pool, `SELECT pg_current_xact_id()::text`)
		trips, _, took := measure(operations)
		transactions := text(t, pool, `SELECT (pg_current_xact_id()::text::bigint - $1::text::bigint - 1)::text`, before)
		if trips != oneTrips || trips != 4 || transactions != "1" {
			t.Errorf("%d saves: %d round trips in %s transactions, want 4 in 1; one save: %d", users, trips, transactions, oneTrips)
		}
		baseline := saveOneByOne(t, url, ring, baselineUsers)
		perSave, perBaseline := took/users, baseline/baselineUsers
		t.Logf("%d saves with audit in %v, %v each; a connection for each query: %v each; %.0f × as fast", users, took, perSave, perBaseline, float64(perBaseline)/float64(perSave))
		if perBaseline < 20*perSave {
			t.Errorf("only %.1f × as fast as a connection for each query, want 20 ×", float64(perBaseline)/float64(perSave))
		}
	}
	if got := text(t, pool, `SELECT concat_ws(' ', (SELECT count(*) FROM user_tokens WHERE user_id <= 1001), (SELECT count(*) FROM token_audit_log WHERE user_id <= 1001))`); got != "1001 2001" {
		t.Errorf("rows and audit rows: %s, want 1001 and 2001", got)
	}
}

// saveOneByOne saves tokens as the application does: read, write and audit, each on its
// own connection.
func saveOneByOne(t *testing.T, url string, ring *tokens.Keyring, users int) time.Duration {
	t.Helper()
	started := time.Now()
	for user := 10_001; user <= 10_000+users; user++ {
		for _, query := range []struct {
			sql  string
			args []any
		}{
			{`SELECT count(*) FROM user_tokens WHERE user_id = $1`, []any{user}},
			{
				`INSERT INTO user_tokens (user_id, access_token, refresh_token, expires_at) VALUES ($1, $2, $3, 1900000000)
				 ON CONFLICT (user_id) DO UPDATE SET access_token = excluded.access_token, refresh_token = excluded.refresh_token`,
				[]any{user, ring.Seal("a", "access"), ring.Seal("r", "refresh")},
			},
			{`INSERT INTO token_audit_log (user_id, operation, success, timestamp) VALUES ($1, 'save', true, now())`, []any{user}},
		} {
			conn, err := pgx.Connect(t.Context(), url)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Exec(t.Context(), query.sql, query.args...); err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return time.Since(started)
}

// TestNoSaveWithoutItsAuditRow: they are written together or not at all.
func TestNoSaveWithoutItsAuditRow(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	store := newStore(t, pool, "k1")
	execute(t, pool, `ALTER TABLE token_audit_log RENAME TO gone`)
	if outcomes, err := store.Save(t.Context(), []tokens.Operation{first(1)}); err == nil || outcomes != nil {
		t.Errorf("Save without an audit log = %v, %v, want an error", outcomes, err)
	}
	if got := stored(t, store, 1); got != "missing" {
		t.Errorf("it stored %s", got)
	}
}
