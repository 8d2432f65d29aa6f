package groupcommit

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

func TestContextThatEndsBeforeTheTransactionWithdraws(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	options := testOptions()
	options.Committers = 1
	entered, release := make(chan struct{}), make(chan struct{})
	e := New(pool, options, effectKind(func(ctx context.Context, tx pgx.Tx, jobs []*river.Job[effectArgs]) error {
		entered <- struct{}{}
		<-release
		return writeEffects(ctx, tx, jobs)
	}))
	jobs := runningJobs(t, pool, 3)
	verdicts := make(chan error, 3)
	cause := errors.New("the client stops")
	inFlush, cancelInFlush := context.WithCancelCause(t.Context())
	go func() { verdicts <- e.Work(inFlush, jobs[0]) }()
	<-entered

	waiting, cancelWaiting := context.WithCancelCause(t.Context())
	go func() { verdicts <- e.Work(waiting, jobs[1]) }()
	cancelWaiting(cause)
	if err := <-verdicts; !errors.Is(err, cause) {
		t.Errorf("verdict of the waiting job = %v, want its context's cause", err)
	}

	expired, cancelExpired := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancelExpired()
	var snooze *rivertype.JobSnoozeError
	if err := e.Work(expired, jobs[2]); !errors.As(err, &snooze) {
		t.Errorf("verdict of the job that timed out = %v, want a snooze", err)
	}

	cancelInFlush(cause)
	select {
	case err := <-verdicts:
		t.Fatalf("a job in a transaction was abandoned with %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := <-verdicts; err != nil {
		t.Errorf("verdict of the job in the transaction = %v, want nil", err)
	}
	if got := completedJobs(t, pool); got != 1 {
		t.Errorf("completed jobs = %d, want 1", got)
	}
}

func TestContextThatEndsBetweenTriesWithdraws(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	options := testOptions()
	options.RetryFor = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	e := New(pool, options, effectKind(func(context.Context, pgx.Tx, []*river.Job[effectArgs]) error {
		cancel()
		return &pgconn.PgError{Code: "08006"}
	}))
	if err := e.Work(ctx, runningJobs(t, pool, 1)[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("verdict = %v, want context.Canceled", err)
	}
}
