package lane

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// dying is a kind whose process dies when it works value 42, so that its current
// transactions never commit.
func dying() Kind[effectArgs] {
	kind := effectKind()
	apply := kind.Apply
	kind.Apply = func(ctx context.Context, tx pgx.Tx, first *pgx.Batch, batch []*Job[effectArgs]) (Writes, error) {
		for _, job := range batch {
			if job.Args.Value == 42 {
				return Writes{}, errDied
			}
		}
		return apply(ctx, tx, first, batch)
	}
	return kind
}

var errDied = &pgxTimeout{}

// pgxTimeout ends a transaction as a lost connection does.
type pgxTimeout struct{}

func (*pgxTimeout) Error() string   { return "died" }
func (*pgxTimeout) Timeout() bool   { return true }
func (*pgxTimeout) Temporary() bool { return true }

// TestJobThatKillsItsProcess: the job is discarded after a bounded number of deaths,
// and the other jobs are done in one attempt.
func TestJobThatKillsItsProcess(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 100)
	o := testOptions(t)
	deaths := 0
	for ask[int](t, pool, `SELECT count(*) FROM river.river_job WHERE finalized_at IS NULL`) > 0 {
		o.Client = fmt.Sprintf("process %d", deaths)
		l := New(pool, o, dying())
		found, err := l.Turn(t.Context())
		for err == nil && found > 0 {
			found, err = l.Turn(t.Context())
		}
		if err != nil {
			deaths++
			exec(t, pool, `INSERT INTO worker_processes (client_id, died_at) VALUES ($1, now())`, o.Client)
			o.Caution.Raise() // as the next process does when it finds the row of the dead one
		}
		if deaths > 10 {
			t.Fatal("the process still dies after ten deaths")
		}
	}
	t.Logf("%d deaths", deaths)
	if deaths > 5 {
		t.Errorf("%d deaths, want at most 5", deaths)
	}
	if got, want := ask[string](t, pool, jobStates), "99 completed attempt 1 errors 0, 1 discarded attempt 1 errors 1"; got != want {
		t.Errorf("jobs: %s, want %s", got, want)
	}
	if got := ask[int](t, pool, `SELECT count(*) FROM river.river_job WHERE state = 'completed' AND metadata <> '{}'`); got != 0 {
		t.Errorf("%d completed jobs are still marked", got)
	}
}

// TestMarkedJobIsIsolated: even after caution has ended.
func TestMarkedJobIsIsolated(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 30)
	mark(t, pool, "a", "b")
	o := testOptions(t)
	seen := o.Observer.(*watcher)
	turns(t, New(pool, o, effectKind()))
	var sizes []int
	for _, tx := range seen.transactions {
		if tx.Jobs > 0 {
			sizes = append(sizes, tx.Jobs)
		}
	}
	if len(sizes) != 2 || sizes[0] != 1 || sizes[1] != 29 {
		t.Errorf("transactions of %v jobs, want the suspect's and then the others'", sizes)
	}
	if got, want := ask[string](t, pool, jobStates), "30 completed attempt 1 errors 0"; got != want {
		t.Errorf("jobs: %s, want %s", got, want)
	}
}

// TestMarksOfTheLivingCountNothing: a job is left to the live processes that marked it,
// and their marks never get it discarded.
func TestMarksOfTheLivingCountNothing(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 30)
	mark(t, pool, "a", "b", "c", "d", "e")
	exec(t, pool, `INSERT INTO worker_processes (client_id) VALUES ('a'), ('b'), ('c'), ('d'), ('e')`)
	turns(t, New(pool, testOptions(t), effectKind()))
	if got, want := ask[string](t, pool, jobStates), "1 available attempt 0 errors 0, 29 completed attempt 1 errors 0"; got != want {
		t.Errorf("jobs while they live: %s, want %s", got, want)
	}
	exec(t, pool, `UPDATE worker_processes SET beat_at = '-infinity'`) // they deregistered
	turns(t, New(pool, testOptions(t), effectKind()))
	if got, want := ask[string](t, pool, jobStates), "30 completed attempt 1 errors 0"; got != want {
		t.Errorf("jobs when they are gone: %s, want %s", got, want)
	}
}

func mark(t *testing.T, pool *dbpool.Pool, clients ...string) {
	t.Helper()
	exec(t, pool, `UPDATE river.river_job SET metadata = jsonb_build_object('worker_marks', $1::text[]) WHERE args->>'value' = '7'`, clients)
}

// TestSuspectThatWaitsIsNotMarked: a suspect waits until its process does nothing else.
// If the process dies while it waits, the suspect is not the cause.
func TestSuspectThatWaitsIsNotMarked(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 10)
	exec(t, pool, `INSERT INTO river.river_job (kind, queue, args, max_attempts) VALUES ('effect', 'others', '{"value": 7}', 25)`)
	mark(t, pool, "dead")
	exec(t, pool, `INSERT INTO worker_processes (client_id, died_at) VALUES ('dead', now())`)
	o := testOptions(t)
	first := New(pool, o, effectKind())
	o.Queue = "others"
	second := New(pool, o, effectKind())
	end := o.Caution.begin(false) // of a third queue's transaction
	ended := make(chan error, 2)
	for _, l := range []*Lane[effectArgs]{first, second} {
		go func() { _, err := l.Turn(t.Context()); ended <- err }()
	}
	time.Sleep(300 * time.Millisecond) // long enough to mark them
	const marks = `SELECT string_agg(queue || ' ' || (metadata->>'worker_marks'), ', ' ORDER BY queue) FROM river.river_job WHERE metadata ? 'worker_marks'`
	if got, want := ask[string](t, pool, marks), `effects ["dead"], others ["dead"]`; got != want {
		t.Errorf("marks: %s, want %s", got, want)
	}
	end()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if got := ask[int](t, pool, `SELECT count(*) FROM river.river_job WHERE state = 'completed' AND args->>'value' = '7'`); got != 2 {
		t.Errorf("%d suspects are done, want 2", got)
	}
}
