package dbpool_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestConnectErrorsSayEverythingOnce: each part once, and callers can still branch on
// the cause.
func TestConnectErrorsSayEverythingOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	server, err := pgconn.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("%s:%d", server.Host, server.Port)
	at := func(user, password, database string) string {
		return fmt.Sprintf("postgres://%s:%s@%s/%s", user, password, address, database)
	}
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for _, c := range []struct{ about, url, want string }{
		{"no server", "postgres://a:b@127.0.0.1:1/d", `connect to database "d" at 127.0.0.1:1 as a: connection refused`},
		{"no database named", "postgres://a:b@127.0.0.1:1/", `connect to database "a" at 127.0.0.1:1 as a: connection refused`},
		{"no servers", "postgres://a:b@127.0.0.1:1,127.0.0.1:2/d", `connect to database "d" at 127.0.0.1:1 as a: 127.0.0.1:1: connection refused; 127.0.0.1:2: connection refused`},
		{"no socket", "postgres:///d?host=/nowhere&user=a", `connect to database "d" at socket /nowhere as a: no such file or directory`},
		{"unknown database", at(server.User, server.Password, "nothing"), fmt.Sprintf(`connect to database "nothing" at %s as %s: FATAL: database "nothing" does not exist (SQLSTATE 3D000)`, address, server.User)},
		{"silent server", "postgres://a:b@" + silent.Addr().String() + "/d?sslmode=disable", fmt.Sprintf(`connect to database "d" at %s as a: no answer within 300ms`, silent.Addr())},
	} {
		_, err := dbpool.Open(t.Context(), dbpool.Options{URL: c.url, MaxConns: 1, ConnectTimeout: 300 * time.Millisecond})
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.about, err, c.want)
		}
		var whole *pgconn.ConnectError
		if !errors.As(err, &whole) && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: the error of pgconn is lost", c.about)
		}
	}

	_, err = dbpool.Open(t.Context(), dbpool.Options{URL: at("nobody", "s3cr3t", server.Database), MaxConns: 1, ConnectTimeout: 5 * time.Second})
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || strings.Count(err.Error(), "connect to ") != 1 || strings.Count(err.Error(), "FATAL") != 1 {
		t.Errorf("unknown role: %v", err)
	}

	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = dbpool.Open(interrupted, dbpool.Options{URL: url, MaxConns: 1, ConnectTimeout: 5 * time.Second})
	if want := fmt.Sprintf("connect to database %q at %s as %s: context canceled", server.Database, address, server.User); err == nil || err.Error() != want || !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v, want %s", err, want)
	}
}

// TestTransactionSaysThatTheServerIsGone: in few words, and as a transient error.
func TestTransactionSaysThatTheServerIsGone(t *testing.T) {
	t.Parallel()
	server := dbtest.Server(t)
	pool := dbtest.Open(t, server.URL("postgres"))
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	pool.Reset() // drops the open connections
	_, err := pool.Begin(t.Context())
	want := fmt.Sprintf("connect to %s: connection refused", dbpool.Target(pool.Config().ConnConfig))
	if err == nil || err.Error() != want || dbpool.Classify(err) != dbpool.Transient {
		t.Errorf("Begin: %v (%v), want %s", err, dbpool.Classify(err), want)
	}
}
