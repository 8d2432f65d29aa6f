//go:build chaos

package chaos

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/jobs"
)

// claimedWithin bounds the time until another worker claims a killed process's jobs.
// The server notices its closed connection at once, and a frozen one after idleTimeout.
const claimedWithin = time.Second

func TestKilledWorker(t *testing.T) {
	r := shared(t)
	r.begin(2)
	victim := r.workers[0]
	var held []int64
	var at time.Time
	r.fault(func() {
		held, at = r.killed(victim)
		r.startWorker()
	})
	r.end()
	r.claimedElsewhere(victim, held, at, claimedWithin)
	r.recoveredWithin(15 * time.Second)
}

func TestRepeatedKills(t *testing.T) {
	t.Parallel()
	r := shared(t)
	r.begin(2)
	r.fault(func() {
		for i := range 3 {
			held, _ := r.killed(r.workers[i])
			r.Logf("the killed worker held %d jobs", len(held))
			r.startWorker()
			time.Sleep(*long / 3)
		}
	})
	r.end()
	r.recoveredWithin(15 * time.Second)
}

// TestTerminatedTwice: the second signal ends a worker at once; its claimed jobs are
// worked elsewhere.
func TestTerminatedTwice(t *testing.T) {
	t.Parallel()
	r := shared(t)
	r.begin(2)
	r.fault(func() {
		r.load.rate.Store(10 * steadyRate)
		time.Sleep(time.Second)
		r.workers[0].Signal(t, syscall.SIGTERM)
		time.Sleep(5 * time.Millisecond)
		_ = r.workers[0].Process.Signal(syscall.SIGTERM)
		r.workers[0].Exit(t, 2*time.Second)
		r.load.rate.Store(steadyRate)
	})
	r.end()
	r.recoveredWithin(15 * time.Second)
}

// TestFrozenWorker stops a process until another claimed its jobs, and resumes it: it
// commits none of the jobs that it had claimed.
func TestFrozenWorker(t *testing.T) {
	r := shared(t)
	r.begin(2)
	frozen := r.workers[0]
	var held []int64
	var at time.Time
	r.fault(func() {
		held, at = r.frozen(frozen)
		time.Sleep(idleTimeout + releasedWithin)
		frozen.Signal(t, syscall.SIGCONT)
	})
	r.end()
	r.claimedElsewhere(frozen, held, at, idleTimeout+releasedWithin)
	r.recoveredWithin(15 * time.Second)
}

// enqueuePoison enqueues jobs that must fail; their activities have the given load and
// name.
func (r *rig) enqueuePoison(n int, load float64, name string) {
	r.Helper()
	for i := range n {
		id := int64(1_000_000 + i)
		ids, err := r.load.enqueuer.Ingest(r.Context(), jobs.PriorityLive, jobs.ActivityIngest{Activities: []jobs.Activity{{
			ActivityID: id, UserID: 1 + int32(i%loadUsers), Date: "2025-02-02", TotalLoadMiles: &load, Trimp: new(1.0), Name: &name,
		}}})
		if err != nil {
			r.Fatal(err)
		}
		r.injected = append(r.injected, ids...)
	}
}

// TestSIGTERMDuringBisection stops a worker while it searches for poison jobs.
func TestSIGTERMDuringBisection(t *testing.T) {
	t.Parallel()
	r := shared(t)
	r.exec(`ALTER TABLE activities ADD CONSTRAINT injected CHECK (total_load_miles <> 666)`)
	r.begin(2)
	r.fault(func() {
		r.load.rate.Store(5 * steadyRate)
		r.enqueuePoison(60, 666, "injected")
		r.stopCleanly(r.workers[0])
		r.load.rate.Store(steadyRate)
	})
	r.end()
}

// TestPanicInABatch: jobs panic in the middle of their batches.
func TestPanicInABatch(t *testing.T) {
	t.Parallel()
	r := shared(t)
	r.begin(2)
	r.fault(func() {
		r.load.rate.Store(5 * steadyRate)
		r.enqueuePoison(20, 5, "injected panic")
		time.Sleep(*long)
		r.load.rate.Store(steadyRate)
	})
	r.end()
	var panicked int
	if err := r.pool().QueryRow(t.Context(), `SELECT count(*) FROM river.river_job WHERE id = ANY($1) AND errors[1]->>'error' LIKE 'panic: %'`, r.injected).Scan(&panicked); err != nil || panicked != len(r.injected) {
		t.Errorf("%d of %d jobs have the panic as their error (%v)", panicked, len(r.injected), err)
	}
	for _, w := range r.workers {
		if strings.Contains(w.Log(), "goroutine") && strings.Contains(w.Log(), "fatal error") {
			t.Error("a worker crashed")
		}
	}
}
