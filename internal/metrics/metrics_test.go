package metrics

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trainingmonkey/worker/internal/lane"
)

func TestStatementName(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"\n-- name: lock_users\nSELECT 1":        "lock_users",
		"-- name: JobGetAvailable :many\nWITH x": "JobGetAvailable",
		"begin":                                  "begin",
		"begin isolation level serializable":     "begin",
		"commit":                                 "commit",
		"SELECT secret FROM t":                   "other",
		"-- name: ; DROP":                        "other",
		"-- name: ":                              "other",
		"-- name: last":                          "other",
		"":                                       "other",
		"/* name */ SELECT":                      "other",
		"-- name: has\"quote\nSELECT":            "has",
		"SELECT 1 -- name: in_the_middle\n":      "other",
		"-- just a comment\n-- name: second\nSELECT 1": "other",
	} {
		if got := statementName(sql); got != want {
			t.Errorf("statementName(%q) = %q, want %q", sql, got, want)
		}
	}
}

func TestBatchName(t *testing.T) {
	t.Parallel()
	b := &pgx.Batch{}
	if got := batchName(b); got != "other" {
		t.Errorf("no statement: %s", got)
	}
	for _, sql := range []string{"-- name: one\nSELECT 1", "SAVEPOINT try", "-- name: two\nSELECT 2", "-- name: one\nSELECT 1"} {
		b.Queue(sql)
	}
	if got, want := batchName(b), "one+two"; got != want {
		t.Errorf("four statements: %s, want %s", got, want)
	}
	for i := range 20 {
		b.Queue(fmt.Sprintf("-- name: n%d\nSELECT 1", i))
	}
	if got, want := batchName(b), "one+two+n0+n1+n2+n3+n4+n5+n6+n7+more"; got != want {
		t.Errorf("22 names: %s, want %s", got, want)
	}
}

func TestOutcome(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"committed": nil,
		"deadlock":  fmt.Errorf("write: %w", &pgconn.PgError{Code: "40P01"}),
		"transient": &pgconn.PgError{Code: "40001"},
		"data":      &pgconn.PgError{Code: "23505"},
		"program":   errors.New("a bug"),
		"panic":     &lane.PanicError{Value: "injected"},
	} {
		if got := outcome(err); got != want {
			t.Errorf("outcome(%v) = %s, want %s", err, got, want)
		}
	}
}

// TestSlowStatementsAreLoggedOnceInAWhile: by name, without their arguments.
func TestSlowStatementsAreLoggedOnceInAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		tracer := newTracer(500*time.Millisecond, slog.New(slog.NewTextHandler(&log, nil)))
		run := func(took time.Duration) {
			ctx := tracer.TraceQueryStart(t.Context(), nil, pgx.TraceQueryStartData{SQL: "-- name: injected\nSELECT $1", Args: []any{"s3cr3t"}})
			time.Sleep(took)
			tracer.TraceQueryEnd(ctx, nil, pgx.TraceQueryEndData{})
		}
		run(499 * time.Millisecond)
		for range 10 {
			run(time.Second)
		}
		run(2 * time.Second)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "statement=injected took=1s times=1") || !strings.Contains(lines[1], "times=10") || strings.Contains(log.String(), "s3cr3t") {
			t.Errorf("log = %q, want the first one and, 10 s later, the number since", lines)
		}
	})
}

// BenchmarkCommitted measures what metrics cost a job.
func BenchmarkCommitted(b *testing.B) {
	o := New("test", time.Second, slog.New(slog.DiscardHandler)).Observer("activity_ingest", "live")
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			o.Committed(20 * time.Millisecond)
		}
	})
}
