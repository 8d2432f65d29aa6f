package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

func TestTransientFaultRunsTheBatchAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"40001", "40P01", "57P01", "53300", "55P03"} {
		pool := effectsDatabase(t)
		var calls atomic.Int32
		e := New(pool, testOptions(), effectKind(func(ctx context.Context, tx pgx.Tx, jobs []*river.Job[effectArgs]) error {
			if calls.Add(1) <= 3 {
				return fmt.Errorf("write: %w", &pgconn.PgError{Code: code})
			}
			return writeEffects(ctx, tx, jobs)
		}))
		for _, err := range workAll(t, e, runningJobs(t, pool, 30)) {
			if err != nil {
				t.Errorf("%s: verdict = %v, want nil", code, err)
			}
		}
		if s := e.Stats(); s.Retries != 3 || s.Bisections != 0 || s.Transactions != 4 {
			t.Errorf("%s: stats = %+v, want 3 retries of the whole batch", code, s)
		}
	}
}

func TestLastingFaultSnoozes(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	options := testOptions()
	options.RetryFor = 100 * time.Millisecond
	e := New(pool, options, effectKind(func(context.Context, pgx.Tx, []*river.Job[effectArgs]) error {
		return &pgconn.PgError{Code: "08006"}
	}))
	for _, err := range workAll(t, e, runningJobs(t, pool, 5)) {
		var snooze *rivertype.JobSnoozeError
		if !errors.As(err, &snooze) || snooze.Duration != options.SnoozeFor {
			t.Errorf("verdict = %v, want a snooze of %v", err, options.SnoozeFor)
		}
	}
}

// TestASnoozeOfApplyIsNoFailure: kinds whose jobs go alone ask for one.
func TestASnoozeOfApplyIsNoFailure(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	e := New(pool, testOptions(), effectKind(failing(river.JobSnooze(time.Minute))))
	workAll(t, e, runningJobs(t, pool, 1))
	if got := e.Stats(); got.Snoozed != 1 || got.Failed != 0 || got.Transactions != 1 {
		t.Errorf("stats = %+v, want one snoozed and none failed", got)
	}
}

// answerLost is a database whose first commit succeeds and says it did not.
type answerLost struct {
	Beginner
	done atomic.Bool
}

func (a *answerLost) Begin(ctx context.Context) (pgx.Tx, error) {
	tx, err := a.Beginner.Begin(ctx)
	return &answerLostTx{tx, a}, err
}

type answerLostTx struct {
	pgx.Tx
	db *answerLost
}

func (tx *answerLostTx) Commit(ctx context.Context) error {
	err := tx.Tx.Commit(ctx)
	if err == nil && tx.db.done.CompareAndSwap(false, true) {
		return fmt.Errorf("commit: %w", io.ErrUnexpectedEOF)
	}
	return err
}

func TestCommitWhoseAnswerIsLostCountsOnce(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	e := New(&answerLost{Beginner: pool}, testOptions(), effectKind(writeEffects))
	for i, err := range workAll(t, e, runningJobs(t, pool, 50)) {
		if err != nil {
			t.Errorf("verdict of job %d = %v, want nil", i, err)
		}
	}
	if got := count(t, pool, `SELECT count(*) FROM effects`); got != 50 {
		t.Errorf("effects = %d, want 50", got)
	}
}
