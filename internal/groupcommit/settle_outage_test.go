package groupcommit

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// outage is a database that is out of reach from its second transaction on, for
// a number of tries.
type outage struct {
	Beginner
	tries  int32
	begins atomic.Int32
}

func (o *outage) Begin(ctx context.Context) (pgx.Tx, error) {
	if n := o.begins.Add(1); n > 1 && n <= 1+o.tries {
		return nil, io.ErrUnexpectedEOF
	}
	return o.Beginner.Begin(ctx)
}

func TestSettlingOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	db := &outage{Beginner: pool, tries: 5}
	jobs := runningJobs(t, pool, 3)
	e := New(db, testOptions(), effectKind(failing(errors.New("broken"))))
	for _, verdict := range workAll(t, e, jobs) {
		silent(t, verdict)
	}
	if got := db.begins.Load(); got != 7 {
		t.Errorf("%d transactions begun, want one that failed, 5 out of reach, and the one that settled", got)
	}
	for _, job := range jobs {
		if got := fateInDatabase(t, pool, job.ID); got.State != "available" || len(got.Errors) != 1 || got.Attempt != 1 {
			t.Errorf("job %d = %+v, want it to have its one error", job.ID, got)
		}
	}
}

// TestSettlingWhoseAnswerIsLostCountsOnce settles again what is settled already.
func TestSettlingWhoseAnswerIsLostCountsOnce(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	jobs := runningJobs(t, pool, 1)
	e := New(&answerLost{Beginner: pool}, testOptions(), effectKind(failing(errors.New("broken"))))
	silent(t, workAll(t, e, jobs)[0])
	if got := fateInDatabase(t, pool, jobs[0].ID); got.State != "available" || len(got.Errors) != 1 {
		t.Errorf("job = %+v, want one error", got)
	}
}

func TestJobIsWithdrawnWhileSettling(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	jobs := runningJobs(t, pool, 1)
	before := rowVersion(t, pool, jobs[0].ID)
	db := &outage{Beginner: pool, tries: 1 << 20}
	e := New(db, testOptions(), effectKind(failing(errors.New("broken"))))
	cause := errors.New("the client stops")
	ctx, cancel := context.WithCancelCause(t.Context())
	verdict := make(chan error, 1)
	go func() { verdict <- e.Work(ctx, jobs[0]) }()
	for db.begins.Load() < 3 {
		select {
		case err := <-verdict:
			t.Fatalf("verdict = %v while the database is out of reach", err)
		case <-time.After(time.Millisecond):
		}
	}
	cancel(cause)
	if err := <-verdict; !errors.Is(err, cause) {
		t.Errorf("verdict = %v, want the context's cause", err)
	}
	if after := rowVersion(t, pool, jobs[0].ID); after != before {
		t.Errorf("row was %s, is %s", before, after)
	}
}
