//go:build chaos

package chaos

import (
	"context"
	"math/rand/v2"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/test/commandtest"
)

// heldQuery finds the jobs that a worker's transactions have claimed: they stay
// available, and xmax of a locked row is the transaction that locked it. Jobs of
// sessions that wait for the rest of a pipeline are excluded: without
// transaction_timeout (PostgreSQL 17) the server waits for it indefinitely.
const heldQuery = `
SELECT job.id
FROM pg_stat_activity AS backend JOIN river.river_job AS job ON job.xmax = backend.backend_xid
WHERE backend.application_name = $1 AND backend.datname = current_database() AND job.state = 'available'
  AND NOT (backend.state = 'active' AND backend.wait_event = 'ClientRead')`

func (r *rig) heldBy(w *commandtest.Process) (ids []int64) {
	r.Helper()
	err := r.connect(func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, heldQuery, r.names[w])
		if err != nil {
			return err
		}
		ids, err = pgx.CollectRows(rows, pgx.RowTo[int64])
		return err
	})
	if err != nil {
		r.Fatal(err)
	}
	return ids
}

// releasedWithin bounds the time from the server's timeout until another worker claims
// the jobs of a frozen or cut-off one: a second loop may have waited for the first
// one's locks (half a second) before its own timeout began, and the claiming worker may
// wait for those locks, too. A few hundred milliseconds are usual.
const releasedWithin = time.Second

// closing is how long a worker's last statement, perhaps a COMMIT, may run after the
// worker stopped responding.
const closing = 100 * time.Millisecond

// takenAway disables a worker while it has claimed jobs. what disables it and undo
// restores it; both repeat until there are such jobs. at is the time of the last try,
// which the server's clock must agree with.
func (r *rig) takenAway(w *commandtest.Process, what func() (undo func())) (held []int64, at time.Time) {
	r.Helper()
	defer r.load.rate.Store(steadyRate)
	for deadline := time.Now().Add(30 * time.Second); ; {
		r.awaitHolder(w)
		at = time.Now()
		undo := what()
		time.Sleep(closing)
		if held = r.heldBy(w); len(held) > 0 {
			return held, at
		}
		undo()
		if time.Now().After(deadline) {
			r.Fatal("the worker never held a job")
		}
		time.Sleep(rand.N(50 * time.Millisecond))
	}
}

// awaitHolder returns once a worker holds jobs, or after a few seconds, because the last try
// may have broken its connections. While there is a backlog the other worker may work it
// alone, so there is one only half of the time.
func (r *rig) awaitHolder(w *commandtest.Process) {
	r.Helper()
	const half = 500 * time.Millisecond
	for began := time.Now(); len(r.heldBy(w)) == 0 && time.Since(began) < 5*time.Second; time.Sleep(time.Millisecond) {
		if time.Since(began)/half%2 == 0 {
			r.load.rate.Store(10 * steadyRate)
		} else {
			r.load.rate.Store(steadyRate)
		}
	}
}

// frozen stops a worker's process while it has claimed jobs.
func (r *rig) frozen(w *commandtest.Process) (held []int64, at time.Time) {
	r.Helper()
	return r.takenAway(w, func() (undo func()) {
		w.Signal(r.T, syscall.SIGSTOP)
		return func() { w.Signal(r.T, syscall.SIGCONT) }
	})
}

// killed kills a worker while it has claimed jobs.
func (r *rig) killed(w *commandtest.Process) (held []int64, at time.Time) {
	r.Helper()
	held, _ = r.frozen(w)
	at = time.Now()
	w.Signal(r.T, syscall.SIGKILL)
	<-w.Done
	return held, at
}

// claimedQuery returns when the last of the transactions that completed the jobs began,
// and how many jobs were not completed by one attempt of another worker.
const claimedQuery = `
SELECT max(attempted_at), count(*) FILTER (WHERE state <> 'completed' OR attempt <> 1 OR errors IS NOT NULL
	OR array_length(attempted_by, 1) <> 1 OR attempted_by[1] LIKE '%-' || $2 || '-%')
FROM river.river_job WHERE id = ANY($1)`

// claimedElsewhere checks, when all jobs are done, that another worker claimed the jobs
// of this one in time, and that this one completed none of them.
func (r *rig) claimedElsewhere(w *commandtest.Process, held []int64, since time.Time, within time.Duration) {
	r.Helper()
	var last time.Time
	var wrong int
	err := r.connect(func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, claimedQuery, held, strconv.Itoa(w.Process.Pid)).Scan(&last, &wrong)
	})
	if err != nil {
		r.Fatal(err)
	}
	r.Logf("%d jobs that the worker held were claimed by others within %v", len(held), last.Sub(since).Round(time.Millisecond))
	if last.Sub(since) > within {
		r.Errorf("the last of its jobs was claimed after %v, want at most %v", last.Sub(since), within)
	}
	if wrong > 0 {
		r.Errorf("%d of its jobs were not completed by one attempt of another worker", wrong)
	}
}
