package adoption

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// maxWait is how long a statement of the application may wait for a lock. The server
// enforces it, and a statement that waits longer fails. Unlike a measured duration,
// that does not depend on the machine's load.
const maxWait = "200ms"

// write acts like the application until the context ends: it selects, then inserts or
// updates, each in its own transaction on its own connection.
func write(ctx context.Context, config *pgx.ConnConfig, user int) (statements int, err error) {
	statement := func(sql string, args ...any) (affected int64, err error) {
		conn, err := pgx.ConnectConfig(context.WithoutCancel(ctx), config)
		if err != nil {
			return 0, err
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		statements++
		tag, err := conn.Exec(context.WithoutCancel(ctx), sql, args...)
		return tag.RowsAffected(), err
	}
	for n := 0; ctx.Err() == nil; n++ {
		id := 13_000_000_000 + int64(user)*1_000_000 + int64(n/2)
		found, err := statement(`SELECT activity_id FROM activities WHERE activity_id = $1`, id)
		if err != nil {
			return statements, fmt.Errorf("select: %w", err)
		}
		if found == 0 {
			_, err = statement(`INSERT INTO activities (activity_id, user_id, date, name, total_load_miles) VALUES ($1, $2, '2025-09-01', 'Run', 3)`, id, user)
		} else {
			_, err = statement(`UPDATE activities SET notes = 'again' WHERE activity_id = $1`, id)
		}
		if err != nil {
			return statements, fmt.Errorf("write: %w", err)
		}
	}
	return statements, nil
}

func TestNobodyWaitsForAMigration(t *testing.T) {
	t.Parallel()
	for _, v := range variants {
		for _, reader := range []time.Duration{0, 1500 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s, beside a transaction of %v", v.name, reader), func(t *testing.T) {
				pool := openApplication(t, v)
				config := pool.Config().ConnConfig.Copy()
				config.RuntimeParams["lock_timeout"] = maxWait

				// Like pg_dump, it reads the table and keeps its lock.
				dump, err := pool.Begin(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := dump.Exec(t.Context(), `SELECT count(*) FROM activities`); err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				var wg sync.WaitGroup
				written, errs := make([]int, 4), make([]error, 4)
				for i := range written {
					wg.Go(func() { written[i], errs[i] = write(ctx, config, i+1) })
				}
				wg.Go(func() {
					time.Sleep(reader)
					_ = dump.Rollback(context.WithoutCancel(ctx))
				})
				start := time.Now()
				_, err = migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema)
				took := time.Since(start)
				stop()
				wg.Wait()
				if err := errors.Join(append(errs, err)...); err != nil {
					t.Error(err)
				}
				total := 0
				for _, n := range written {
					total += n
				}
				if total < 5 || took < reader {
					t.Errorf("%d statements in %v of migrating", total, took)
				}
				t.Logf("%d statements in %v of migrating", total, took.Round(time.Millisecond))
			})
		}
	}
}
