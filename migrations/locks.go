package migrations

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A statement that changes a table waits for every transaction that uses it, and
// everybody who comes later waits behind that statement. So it gives up after
// lockTimeout, lets the others pass for lockPause, and tries again.
const (
	lockTimeout  = "100" // milliseconds
	lockPause    = 400 * time.Millisecond
	lockPatience = time.Minute
)

// ErrLocked is returned when a table could not be changed because transactions
// of others held it all the time.
var ErrLocked = errors.New("a table that has to be changed is in use by a long transaction")

// untilLocked runs migrate again for as long as it fails for want of a lock.
// What it did before it failed must be committed or undone.
func untilLocked(ctx context.Context, migrate func() error) error {
	for deadline := time.Now().Add(lockPatience); ; {
		err := migrate()
		if fault := (*pgconn.PgError)(nil); !errors.As(err, &fault) || fault.Code != "55P03" {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w, for more than %v; see pg_locks and pg_stat_activity, then migrate again: %w", ErrLocked, lockPatience, err)
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}
