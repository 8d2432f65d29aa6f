package endtoend

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/oracle"
	"github.com/trainingmonkey/worker/test/commandtest"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// commands are built by TestMain.
var commands commandtest.Commands

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("rapid.checks", "200"); err != nil {
		panic(err)
	}
	built, remove, err := commandtest.Build("")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	commands = built
	code := dbtest.Run(m)
	remove()
	os.Exit(code)
}

func query[T any](t testing.TB, pool *dbpool.Pool, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// eventually polls until ok returns true, for at most the given time.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	started := time.Now()
	for !ok() {
		if time.Since(started) > within {
			t.Fatalf("%s: not within %v", what, within)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(started)
}

func unfinished(t testing.TB, pool *dbpool.Pool) int {
	t.Helper()
	return query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE state NOT IN ('completed', 'discarded', 'cancelled')`)
}

func checkOracle(t testing.TB, pool *dbpool.Pool, users ...int32) {
	t.Helper()
	wrong, total, err := oracle.Check(t.Context(), pool, users...)
	if err != nil {
		t.Fatal(err)
	}
	if total > 0 {
		t.Fatalf("%d rows are wrong, the first: %s", total, wrong[0])
	}
}
