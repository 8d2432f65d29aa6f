package dbpool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrOutcomeUnknown is returned when the connection broke during COMMIT: the
// transaction may have been committed or not, so it is not retried. Callers
// whose work is idempotent may retry it.
var ErrOutcomeUnknown = errors.New("connection lost during commit, outcome unknown")

// AcquireTimeoutError says that no connection became free in time, or that the
// transaction did not begin in time on the one that did.
type AcquireTimeoutError struct {
	Waited         time.Duration
	InUse, MaxConn int32
}

// Error implements error.
func (e *AcquireTimeoutError) Error() string {
	if e.InUse < e.MaxConn {
		return fmt.Sprintf("the database did not take a connection or begin a transaction within %v (%d of %d connections in use)", e.Waited, e.InUse, e.MaxConn)
	}
	return fmt.Sprintf("no free database connection after %v (%d of %d in use)", e.Waited, e.InUse, e.MaxConn)
}

// Timeout implements net.Error.
func (e *AcquireTimeoutError) Timeout() bool { return true }

// Temporary implements net.Error.
func (e *AcquireTimeoutError) Temporary() bool { return true }

// Begin starts a transaction as BeginTx does.
func (p *Pool) Begin(ctx context.Context) (pgx.Tx, error) {
	return p.BeginTx(ctx, pgx.TxOptions{})
}

// BeginTx starts a transaction within the acquire timeout, and otherwise fails with
// an AcquireTimeoutError, which is Transient. Unless the options say something else, it is
// read committed, with the pool's timeouts and search_path. Commit or Rollback returns the
// connection to the pool.
func (p *Pool) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	if o.BeginQuery == "" {
		o.BeginQuery = p.beginQuery(o, nil)
	}
	bounded, cancel := context.WithTimeout(ctx, p.acquireTimeout)
	defer cancel()
	tx, err := p.Pool.BeginTx(bounded, o)
	switch {
	case err == nil:
		return pooledTx{tx}, nil
	case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		stat := p.Stat()
		return nil, &AcquireTimeoutError{Waited: p.acquireTimeout, InUse: stat.AcquiredConns(), MaxConn: stat.MaxConns()}
	}
	if failed := (*pgconn.ConnectError)(nil); errors.As(err, &failed) {
		config := p.Config().ConnConfig
		return nil, fmt.Errorf("connect to %s: %w", Target(config), withoutSecrets(Concise(err), config))
	}
	return nil, err
}

// rollbackTimeout bounds a rollback. After it the connection is closed, which
// also rolls back.
const rollbackTimeout = 2 * time.Second

type pooledTx struct{ pgx.Tx }

// Rollback also works after ctx has ended, so a defer suffices.
func (tx pooledTx) Rollback(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
	defer cancel()
	return tx.Tx.Rollback(ctx)
}

// txAttempts is how often InTx runs a transaction that fails with transient errors.
const txAttempts = 5

// InTx runs fn in a READ COMMITTED transaction and commits it. A serialization
// failure, deadlock, timeout or lost connection runs fn again, with back-off,
// up to five times in all; fn must therefore have no effects outside tx. A
// connection lost during COMMIT is ErrOutcomeUnknown.
func (p *Pool) InTx(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error) error {
	for attempt := 1; ; attempt++ {
		err := p.inTxOnce(ctx, fn)
		if err == nil || attempt == txAttempts || errors.Is(err, ErrOutcomeUnknown) || Classify(err) != Transient {
			return err
		}
		if Backoff(ctx, attempt) != nil {
			return err
		}
	}
}

func (p *Pool) inTxOnce(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error) error {
	tx, err := p.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	if err := fn(ctx, tx); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		if LostConnection(err) {
			return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		}
		return err
	}
	return nil
}

// Backoff sleeps before try attempt+1: a random part, at least a quarter, of a
// wait that doubles from 20 ms up to a second, so that colliding transactions
// drift apart. If ctx ends, it returns early with the context's error.
func Backoff(ctx context.Context, attempt int) error {
	maxWait := min(time.Second, 10*time.Millisecond<<min(attempt, 10))
	select {
	case <-time.After(maxWait/4 + rand.N(maxWait*3/4)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
