package recovery

import (
	"context"
	"testing"

	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/internal/dbtest"
)

func TestGoodbyeMakesJobsRecoverableAtOnce(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	stays, leaves := joined(t, pool, "stays"), joined(t, pool, "leaves")
	id := running(t, pool, "leaves", ``)
	look(t, stays)
	if got := job(t, pool, id); got != "running 3 {} due" {
		t.Fatalf("job of a living process is %s", got)
	}
	if err := leaves.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	look(t, stays)
	if got := job(t, pool, id); got != `available 2 {"recovered": 1} due` {
		t.Errorf("job of a process that left is %s", got)
	}
}

// TestNobodyIsDeadRightAfterAnOutage: all beats are old then, one's own too.
func TestNobodyIsDeadRightAfterAnOutage(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	first, second := joined(t, pool, "first"), joined(t, pool, "second")
	ofFirst, ofSecond := running(t, pool, "first", ``), running(t, pool, "second", ``)
	ofDead := running(t, pool, "dead", ``)
	exec(t, pool, `UPDATE river.river_job SET attempted_at = now() - interval '2 hours'`)
	die(t, pool, "first")
	die(t, pool, "second")
	die(t, pool, "dead")
	executing(t, first, ofFirst, func() { look(t, first) })
	for _, id := range []int64{ofFirst, ofSecond, ofDead} {
		if got := job(t, pool, id); got != "running 3 {} due" {
			t.Errorf("after the first beat, job %d is %s", id, got)
		}
	}
	executing(t, second, ofSecond, func() { look(t, second) })
	executing(t, first, ofFirst, func() { look(t, first) })
	for id, want := range map[int64]string{ofFirst: "running 3 {} due", ofSecond: "running 3 {} due", ofDead: `available 2 {"recovered": 1} due`} {
		if got := job(t, pool, id); got != want {
			t.Errorf("after both have beaten, job %d is %s, want %s", id, got, want)
		}
	}
}

// executing calls while with the job as one that River has given to p.
func executing(t *testing.T, p *Process, id int64, while func()) {
	t.Helper()
	worker := p.Middleware().(rivertype.WorkerMiddleware) //nolint:forcetypeassert // it is one
	err := worker.Work(t.Context(), &rivertype.JobRow{ID: id}, func(context.Context) error {
		while()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestJobsLostOnTheWayReturn(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	p := joined(t, pool, "me")
	joined(t, pool, "other")
	const old = `attempted_at = now() - interval '61 minutes'`
	lost, fresh := running(t, pool, "me", old), running(t, pool, "me", ``)
	here, ofOther := running(t, pool, "me", old), running(t, pool, "other", old)
	executing(t, p, here, func() {
		// A second attempt at the same job begins and ends meanwhile.
		executing(t, p, here, func() {})
		look(t, p)
		if got := job(t, pool, lost); got != "running 3 {} due" {
			t.Errorf("job that may be on its way from its fetch is %s", got)
		}
		look(t, p)
	})
	for id, want := range map[int64]string{
		lost: `available 2 {"recovered": 1} due`, fresh: "running 3 {} due", here: "running 3 {} due", ofOther: "running 3 {} due",
	} {
		if got := job(t, pool, id); got != want {
			t.Errorf("job is %s, want %s", got, want)
		}
	}
	die(t, pool, "me") // even after an outage: what it executes, a process knows by itself
	look(t, p)
	look(t, p)
	if got := job(t, pool, here); got != `available 2 {"recovered": 1} due` {
		t.Errorf("job that was executed and whose fate nobody wrote is %s", got)
	}
}

func TestDeadAreForgottenWhenTheyHoldNothing(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	p := joined(t, pool, "me")
	exec(t, pool, `INSERT INTO worker_processes (client_id, beat_at) VALUES
		('long dead', now() - interval '25 hours'), ('lately dead', now() - interval '23 hours'),
		('gone', '-infinity'), ('holds', now() - interval '25 hours')`)
	id := running(t, pool, "holds", ``)
	exec(t, pool, `INSERT INTO river.river_job (kind, args, state, attempted_by, max_attempts, finalized_at) VALUES ('any', '{}', 'completed', '{long dead}', 25, now())`)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `SELECT FROM river.river_job WHERE id = $1 FOR UPDATE`, id); err != nil {
		t.Fatal(err)
	}
	const known = `SELECT string_agg(client_id, ', ' ORDER BY client_id) FROM worker_processes`
	look(t, p)
	if got, want := one[string](t, pool, known), "holds, lately dead, me"; got != want {
		t.Errorf("known processes = %s, want %s", got, want)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	look(t, p)
	if got, want := one[string](t, pool, known), "lately dead, me"; got != want {
		t.Errorf("known processes once their jobs returned = %s, want %s", got, want)
	}
}
