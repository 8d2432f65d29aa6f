package dbpool_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func TestBudget(t *testing.T) {
	t.Parallel()
	budget := dbpool.Budget{{What: "commits", Conns: 4}, {What: "completer", Conns: 1}}
	if err := budget.Check(5); err != nil {
		t.Errorf("Check(5) = %v, want nil", err)
	}
	err := budget.Check(4)
	if !errors.Is(err, dbpool.ErrOverBudget) || !strings.Contains(err.Error(), "4 commits + 1 completer = 5 > 4") {
		t.Errorf("Check(4) = %v, want the sum", err)
	}
}

// TestSettingsAreOurs opens a database whose own settings all differ.
func TestSettingsAreOurs(t *testing.T) {
	t.Parallel()
	o := dbtest.Options(dbtest.New(t))
	others, err := pgx.Connect(t.Context(), o.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = others.Close(context.WithoutCancel(t.Context())) }()
	for _, setting := range []string{
		"statement_timeout = '1min'", "lock_timeout = '1min'", "idle_in_transaction_session_timeout = 0", "jit = on", "TimeZone = 'Asia/Tokyo'", "DateStyle = 'German'",
		"default_transaction_isolation = 'serializable'", "client_encoding = 'LATIN1'", "idle_session_timeout = '1min'", "transaction_timeout = '1min'",
		`search_path = "$user", "it's", public`,
	} {
		name, _, _ := strings.Cut(setting, " ")
		if _, err := others.Exec(t.Context(), "DO $$ BEGIN IF current_setting('"+name+"', true) IS NOT NULL THEN EXECUTE format('ALTER DATABASE %I SET "+
			strings.ReplaceAll(setting, "'", "''")+"', current_database()); END IF; END $$"); err != nil {
			t.Fatal(err)
		}
	}
	o.StatementTimeout, o.LockTimeout, o.IdleInTransactionTimeout = 1500*time.Millisecond, 2*time.Second, 3*time.Second
	pool, err := dbpool.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := others.Exec(t.Context(), "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = elsewhere', current_database()); END $$"); err != nil {
		t.Fatal(err)
	}
	pool.Reset() // later sessions have what the first one had, too
	for name, want := range map[string]string{
		"search_path":       `"$user", "it's", public`,
		"statement_timeout": "1500ms", "lock_timeout": "2s", "idle_in_transaction_session_timeout": "3s",
		"tcp_keepalives_idle": "3", "tcp_keepalives_interval": "1", "tcp_keepalives_count": "3", "tcp_user_timeout": "6000", "application_name": "test", "TimeZone": "UTC",
		"jit": "off", "DateStyle": "ISO, MDY", "transaction_isolation": "read committed", "client_encoding": "UTF8", "idle_session_timeout": "0", "transaction_timeout": "0",
	} {
		var got string
		if err := pool.QueryRow(t.Context(), "SELECT coalesce(current_setting($1, true), '0')", name).Scan(&got); err != nil || got != want {
			t.Errorf("%s = %q, %v, want %q", name, got, err, want)
		}
	}
	_, err = pool.Exec(t.Context(), "SELECT pg_sleep(10)")
	if dbpool.Classify(err) != dbpool.Transient {
		t.Errorf("a statement over its timeout = %v, want a transient fault", err)
	}
}

// TestTransactionsInOthersSessions: a pooler in transaction mode may run a transaction in a
// session whose settings are another client's.
func TestTransactionsInOthersSessions(t *testing.T) {
	t.Parallel()
	o := dbtest.Options(dbtest.New(t))
	o.MaxConns, o.StatementTimeout, o.LockTimeout, o.IdleInTransactionTimeout = 1, 1500*time.Millisecond, 2*time.Second, 3*time.Second
	pool, err := dbpool.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	others := `SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET search_path = elsewhere; SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE`
	if _, err := pool.Exec(t.Context(), others, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	reading := func(ctx context.Context, tx pgx.Tx) error {
		for name, want := range map[string]string{
			"statement_timeout": "1500ms", "lock_timeout": "2s", "idle_in_transaction_session_timeout": "3s", "transaction_isolation": "read committed", "search_path": `"$user", public`,
		} {
			var got string
			if err := tx.QueryRow(ctx, "SHOW "+name).Scan(&got); err != nil || got != want {
				t.Errorf("SHOW %s = %q, %v, want %q", name, got, err, want)
			}
		}
		return nil
	}
	if err := pool.InTx(t.Context(), reading); err != nil {
		t.Error(err)
	}
	err = pgx.BeginTxFunc(t.Context(), pool, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		var readOnly string
		if err := tx.QueryRow(t.Context(), "SHOW transaction_read_only").Scan(&readOnly); err != nil || readOnly != "on" {
			t.Errorf("read-only = %s, %v", readOnly, err)
		}
		return reading(t.Context(), tx)
	})
	if err != nil {
		t.Error(err)
	}
}

// TestTextsArriveAsTheyAre: whichever encoding the database, the role or the address sets.
func TestTextsArriveAsTheyAre(t *testing.T) {
	t.Parallel()
	address, err := url.Parse(dbtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	admin := dbtest.Open(t, address.String())
	name := strings.TrimPrefix(address.Path, "/") + "_latin1"
	if _, err := admin.Exec(t.Context(), `CREATE DATABASE `+name+` ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = admin.Exec(context.WithoutCancel(t.Context()), `DROP DATABASE `+name+` WITH (FORCE)`) })
	if _, err := admin.Exec(t.Context(), `ALTER DATABASE `+name+` SET client_encoding = 'LATIN1'`); err != nil {
		t.Fatal(err)
	}
	address.Path = "/" + name
	for _, parameter := range []string{"", "client_encoding=LATIN1"} {
		address.RawQuery = strings.Trim(address.RawQuery+"&"+parameter, "&")
		pool, err := dbpool.Open(t.Context(), dbtest.Options(address.String()))
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		var got string
		var length int
		err = pool.QueryRow(t.Context(), `SELECT $1::text, length($1::text)`, "Café").Scan(&got, &length)
		if err != nil || got != "Café" || length != 4 {
			t.Errorf("with %q the text is %q of %d characters, %v, want Café of 4", parameter, got, length, err)
		}
	}
}

func TestAcquireTimesOut(t *testing.T) {
	t.Parallel()
	o := dbtest.Options(dbtest.New(t))
	o.MaxConns, o.AcquireTimeout = 1, 100*time.Millisecond
	pool, err := dbpool.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	held, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = pool.Begin(t.Context())
	var timeout *dbpool.AcquireTimeoutError
	if !errors.As(err, &timeout) || dbpool.Classify(err) != dbpool.Transient {
		t.Errorf("Begin on an exhausted pool = %v, want a transient AcquireTimeoutError", err)
	}
	if err := held.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatalf("the connection did not return to the pool: %v", err)
	}
	_ = again.Rollback(t.Context())
}

func TestInTxRunsAgainWhenNobodyIsAtFault(t *testing.T) {
	t.Parallel()
	pool := dbtest.Open(t, dbtest.New(t))
	for code, wantCalls := range map[string]int{"40001": 3, "40P01": 3, "57P01": 3, "23505": 1, "42P01": 1} {
		calls := 0
		err := pool.InTx(t.Context(), func(context.Context, pgx.Tx) error {
			if calls++; calls < 3 {
				return &pgconn.PgError{Code: code}
			}
			return nil
		})
		if calls != wantCalls || (err == nil) != (wantCalls == 3) {
			t.Errorf("%s: %d calls and %v, want %d calls", code, calls, err, wantCalls)
		}
	}
}

func TestInTxSurvivesATerminatedBackend(t *testing.T) {
	t.Parallel()
	pool := dbtest.Open(t, dbtest.New(t))
	if _, err := pool.Exec(t.Context(), `CREATE TABLE t (n int)`); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int32
	err := pool.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO t VALUES (1)`); err != nil {
			return err
		}
		if calls.Add(1) == 1 {
			_, err := tx.Exec(ctx, `SELECT pg_terminate_backend(pg_backend_pid())`)
			return err
		}
		return nil
	})
	var rows int
	if scanErr := pool.QueryRow(t.Context(), `SELECT count(*) FROM t`).Scan(&rows); scanErr != nil {
		t.Fatal(scanErr)
	}
	if err != nil || calls.Load() != 2 || rows != 1 {
		t.Errorf("InTx = %v after %d calls with %d rows, want 2 calls and 1 row", err, calls.Load(), rows)
	}
}

func TestOpenNamesTheServerAndNeverThePassword(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"postgres://tom:hunter2@127.0.0.1:1/no-such-db",
		"postgres://tom:hunter2@/my-db?host=/no/such/socket",
		"postgres://tom:hunter2@127.0.0.1:notaport/db",
		"host=127.0.0.1 port=1 user=tom password=hunter2 dbname=db",
		"postgres://tom:hunter2@127.0.0.1:1/db?sslmode=perhaps",
	} {
		o := dbtest.Options(address)
		o.ConnectTimeout = time.Second
		_, err := dbpool.Open(t.Context(), o)
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open(%q) = %v, want an error without the password", address, err)
		}
	}
}

// TestOpenTakesEveryKindOfAddress connects by URL, by key=value string and to a
// database with a hyphen in its name.
func TestOpenTakesEveryKindOfAddress(t *testing.T) {
	t.Parallel()
	base, err := url.Parse(dbtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	admin := dbtest.Open(t, base.String())
	name := strings.TrimPrefix(base.Path, "/") + "-with-hyphen"
	if _, err := admin.Exec(t.Context(), `CREATE DATABASE `+pgx.Identifier{name}.Sanitize()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		_, _ = admin.Exec(ctx, `DROP DATABASE `+pgx.Identifier{name}.Sanitize()+` WITH (FORCE)`)
	})
	password, _ := base.User.Password()
	keyValue := "host=" + base.Hostname() + " port=" + base.Port() + " user=" + base.User.Username() + " password=" + password + " dbname=" + name + " sslmode=disable"
	hyphen := *base
	hyphen.Path = "/" + name
	for _, address := range []string{hyphen.String(), keyValue} {
		pool, err := dbpool.Open(t.Context(), dbtest.Options(address))
		if err != nil {
			t.Errorf("Open = %v", err)
			continue
		}
		if got := pool.Config().ConnConfig.Database; got != name {
			t.Errorf("database = %q, want %q", got, name)
		}
		pool.Close()
	}
}

// TestUselessConnectionIsClosed: the next transaction gets a new one.
func TestUselessConnectionIsClosed(t *testing.T) {
	t.Parallel()
	o := dbtest.Options(dbtest.New(t))
	o.MaxConns = 1
	pool, err := dbpool.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if _, err := pool.Exec(t.Context(), `CREATE TABLE t (n int)`); err != nil {
		t.Fatal(err)
	}
	const prepared = `SELECT * FROM t WHERE n = $1`
	for name, fail := range map[string]func() error{
		"read-only": func() error {
			tx, err := pool.BeginTx(t.Context(), pgx.TxOptions{AccessMode: pgx.ReadOnly})
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback(t.Context()) }()
			_, err = tx.Exec(t.Context(), `INSERT INTO t VALUES (1)`)
			return err
		},
		"stale plan": func() error {
			tx, err := pool.Begin(t.Context())
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback(t.Context()) }()
			if _, err := tx.Exec(t.Context(), prepared, 1); err != nil {
				return err
			}
			if _, err := tx.Exec(t.Context(), `ALTER TABLE t ADD COLUMN m int`); err != nil {
				return err
			}
			_, err = tx.Exec(t.Context(), prepared, 1)
			return err
		},
	} {
		var before, after int
		if err := pool.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&before); err != nil {
			t.Fatal(err)
		}
		if err := fail(); err == nil {
			t.Fatalf("%s: no error", name)
		}
		if err := pool.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&after); err != nil || after == before {
			t.Errorf("%s: the next session is %d, %v, want another than %d", name, after, err, before)
		}
	}
}
