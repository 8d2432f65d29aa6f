package groupcommit

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
)

// TestSalvage has one job of ten refused, and a Salvage that ends in various ways.
func TestSalvage(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	for name, c := range map[string]struct {
		salvage func(try int32, tx pgx.Tx) error
		want    string // the guilty job's state
		tries   int32
	}{
		"commits":           {func(int32, pgx.Tx) error { return nil }, "completed", 1},
		"cannot help":       {func(int32, pgx.Tx) error { return ErrNotSalvaged }, "available", 1},
		"is refused itself": {func(int32, pgx.Tx) error { return &pgconn.PgError{Code: "23514"} }, "available", 1},
		"panics":            {func(int32, pgx.Tx) error { panic("salvage") }, "available", 1},
		"meets a deadlock":  {func(try int32, _ pgx.Tx) error { return map[bool]error{true: &pgconn.PgError{Code: "40P01"}}[try < 3] }, "completed", 3},
		"takes too long": {func(_ int32, tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), `SELECT pg_sleep(2.2)`)
			return errors.Join(err, context.DeadlineExceeded)
		}, "available", 1},
		"loses its connection": {func(try int32, tx pgx.Tx) error {
			if try == 1 {
				_ = tx.Conn().PgConn().Conn().Close()
			}
			return nil
		}, "completed", 2},
	} {
		var tries atomic.Int32
		kind := effectKind(writeEffects)
		kind.Salvage = func(_ context.Context, tx pgx.Tx, jobs []*river.Job[effectArgs]) error {
			if len(jobs) != 1 || jobs[0].Args.Value != refusedValue {
				t.Errorf("%s: salvage of %d jobs, want the guilty one", name, len(jobs))
			}
			return c.salvage(tries.Add(1), tx)
		}
		options := testOptions()
		options.FlushTimeout = 2 * time.Second
		jobs := runningJobs(t, pool, 10, 4)
		verdicts := workAll(t, New(pool, options, kind), jobs)
		if got := fateInDatabase(t, pool, jobs[4].ID).State; got != c.want || tries.Load() != c.tries {
			t.Errorf("%s: job is %s after %d tries, want %s after %d", name, got, tries.Load(), c.want, c.tries)
		}
		var refusal *pgconn.PgError
		if c.want == "available" && (!errors.As(verdicts[4], &refusal) || refusal.ConstraintName == "") {
			t.Errorf("%s: verdict = %v, want the first refusal", name, verdicts[4])
		}
		for i, err := range verdicts {
			if err != nil && i != 4 {
				t.Errorf("%s: verdict of job %d = %v, want nil", name, i, err)
			}
		}
	}
}
