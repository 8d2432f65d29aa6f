package dbpool

import (
	"context"
	"fmt"
	"time"
)

// lockPause is the time between two tries of UntilLocked.
const lockPause = 400 * time.Millisecond

// UntilLocked repeats change for up to maxWait while it fails because of lock_timeout.
// Other statements queue behind one that waits for a lock; the pauses let them proceed.
// Effects of change before it failed must be committed or undone.
func UntilLocked(ctx context.Context, maxWait time.Duration, change func() error) error {
	for deadline := time.Now().Add(maxWait); ; {
		err := change()
		if SQLState(err) != "55P03" {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("a table that has to be changed is in use by a long transaction, for more than %v; see pg_locks and pg_stat_activity, then try again: %w", maxWait, err)
		}
		select {
		case <-time.After(lockPause):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}
