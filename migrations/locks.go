package migrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A statement that changes a table waits for every transaction that uses it, and every
// later statement waits behind it. So it gives up after lockTimeout, lets the others pass
// for lockPause, and tries again.
const (
	lockTimeout = "100" // milliseconds
	lockPause   = 400 * time.Millisecond
	maxLockWait = time.Minute
)

// untilLocked repeats migrate while it fails because of a lock. What it did before it
// failed must be committed or undone.
func untilLocked(ctx context.Context, migrate func() error) error {
	for deadline := time.Now().Add(maxLockWait); ; {
		err := migrate()
		if fault := (*pgconn.PgError)(nil); !errors.As(err, &fault) || fault.Code != "55P03" {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("a table that has to be changed is in use by a long transaction, for more than %v; see pg_locks and pg_stat_activity, then migrate again: %w", maxLockWait, err)
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}
