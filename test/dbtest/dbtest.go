// Package dbtest gives each test its own PostgreSQL database, migrated on request, and a
// pool on it.
//
// No two tests ever see each other's data, even if several test processes share the
// server that DATABASE_URL names. A test that cannot get a database fails; only -short
// skips it.
package dbtest

import (
	"context"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/migrations"
)

// RiverSchema is the schema of River's tables in these databases.
const RiverSchema = "river"

// Options returns pool options for tests on url.
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

// MigratedURL returns the URL of the test's own migrated database.
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

// Open returns a pool on the database of url, closed with the test.
func Open(t testing.TB, url string) *dbpool.Pool {
	t.Helper()
	pool, err := dbpool.Open(t.Context(), Options(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// Migrated returns a pool on the test's own migrated database.
func Migrated(t testing.TB) *dbpool.Pool {
	t.Helper()
	return Open(t, MigratedURL(t))
}
