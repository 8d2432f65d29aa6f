// Package dbtest gives each test a PostgreSQL database of its own, migrated where it
// asks for that, and a pool over it.
//
// No two tests ever see each other's data, also when several test processes
// share the server that DATABASE_URL names. A test that cannot have a database
// fails; it is never skipped but by -short.
package dbtest

import (
	"context"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/migrations"
)

// RiverSchema is where River's tables are in these databases.
const RiverSchema = "river"

// Options are pool options for tests over url.
func Options(url string) dbpool.Options {
	return dbpool.Options{
		URL:                      url,
		ApplicationName:          "test",
		MaxConns:                 18,
		ConnectTimeout:           10 * time.Second,
		AcquireTimeout:           10 * time.Second,
		StatementTimeout:         60 * time.Second,
		LockTimeout:              10 * time.Second,
		IdleInTransactionTimeout: 60 * time.Second,
	}
}

// MigratedURL returns the URL of a migrated database of the test's own.
func MigratedURL(t testing.TB) string {
	t.Helper()
	return NewFrom(t, "migrated", func(ctx context.Context, url string) error {
		pool, err := dbpool.Open(ctx, Options(url))
		if err != nil {
			return err
		}
		defer pool.Close()
		_, err = migrations.Up(ctx, pool.Pool, RiverSchema)
		return err
	})
}

// Open returns a pool over a database of the given URL, closed with the test.
func Open(t testing.TB, url string) *dbpool.Pool {
	t.Helper()
	pool, err := dbpool.Open(t.Context(), Options(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// Migrated returns a pool over a migrated database of the test's own.
func Migrated(t testing.TB) *dbpool.Pool {
	t.Helper()
	return Open(t, MigratedURL(t))
}
