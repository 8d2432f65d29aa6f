package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

// noRelease makes TestMain end without Main's release.
const noRelease = "PGTEST_TEST_NO_RELEASE"

func TestMain(m *testing.M) {
	if os.Getenv(noRelease) != "" {
		os.Exit(m.Run())
	}
	Main(m)
}

func TestNewIsEmptyAndOwn(t *testing.T) {
	t.Parallel()
	a, b := New(t), New(t)
	run(t, a, "CREATE TABLE mine ()")
	const tables = "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'"
	if got := ask(t, a, tables); got != "1" {
		t.Errorf("first database has %s tables, want 1", got)
	}
	if got := ask(t, b, tables); got != "0" {
		t.Errorf("second database has %s tables, want 0", got)
	}
}

func TestNewIsDroppedDespiteConnections(t *testing.T) {
	t.Parallel()
	skipInShort(t)
	var lent string
	var conn *pgx.Conn
	t.Run("borrower", func(t *testing.T) {
		lent = New(t)
		var err error
		if conn, err = pgx.Connect(t.Context(), lent); err != nil {
			t.Fatal(err)
		}
	})
	if err := conn.Ping(t.Context()); err == nil {
		t.Error("the connection outlives its test's database")
	}
	if _, err := pgx.Connect(t.Context(), lent); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("Connect() after the test = %v, want no such database", err)
	}
}

func TestNewFromPreparesOncePerKey(t *testing.T) {
	t.Parallel()
	skipInShort(t)
	var prepared atomic.Int32
	prepare := func(ctx context.Context, url string) error {
		prepared.Add(1)
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, "CREATE TABLE filled AS SELECT 'by prepare'::text AS how")
		return errors.Join(err, conn.Close(ctx))
	}
	key := rand.Text() // fresh for every -count
	t.Run("tests", func(t *testing.T) {
		for i := range 12 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				db := NewFrom(t, key, prepare)
				if got := ask(t, db, "UPDATE filled SET how = how || '!' RETURNING how"); got != "by prepare!" {
					t.Errorf("row = %q, want the template's, changed once", got)
				}
			})
		}
	})
	if got := prepared.Load(); got != 1 {
		t.Errorf("prepare ran %d times, want 1", got)
	}
	NewFrom(t, key+"/other", prepare)
	if got := prepared.Load(); got != 2 {
		t.Errorf("prepare ran %d times for two keys, want 2", got)
	}
}

func TestNewFromForgottenConnection(t *testing.T) {
	t.Parallel()
	db := NewFrom(t, rand.Text(), func(_ context.Context, url string) error {
		conn, err := pgx.Connect(t.Context(), url)
		if err == nil {
			t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
		}
		return err
	})
	if got := ask(t, db, "SELECT 'here'"); got != "here" {
		t.Errorf("the copy answers %q", got)
	}
}

// TestCloneOfFailedTemplate: if its template could not be prepared, every test of a key
// fails, and none gets half a template.
func TestCloneOfFailedTemplate(t *testing.T) {
	t.Parallel()
	h := sharedHost(t)
	key, broken := rand.Text(), errors.New("migration 3 is broken")
	for range 2 {
		if _, err := h.clone(t.Context(), key, func(context.Context, string) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("clone() = %v, want the error of prepare", err)
		}
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = h.clone(t.Context(), key+"/panic", func(context.Context, string) error { panic("halfway") })
	}()
	if _, err := h.clone(t.Context(), key+"/panic", nil); !errors.Is(err, errUnprepared) {
		t.Errorf("clone() after a panic = %v, want errUnprepared", err)
	}
}

func TestRoleWithoutCreatedb(t *testing.T) {
	t.Parallel()
	s := Server(t)
	run(t, s.URL(""), "CREATE ROLE weak LOGIN PASSWORD 'weak'")
	u, err := url.Parse(s.URL(""))
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("weak", "weak")
	h, err := openHost(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.create(t.Context(), emptyTemplate); err == nil || !strings.Contains(err.Error(), "needs CREATEDB") {
		t.Errorf("create() = %v, want it to name CREATEDB", err)
	}
}

func run(t *testing.T, url, sql string) {
	t.Helper()
	h := host{admin: url}
	if err := h.exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// ask returns the one text value of a query.
func ask(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var answer string
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}
