//go:build chaos

package chaos

import (
	"context"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/jobs"
)

func TestKilledWorker(t *testing.T) {
	r := shared(t)
	r.begin(2)
	r.fault(func() {
		r.killBusy(0)
		r.startWorker()
	})
	r.end()
	r.recoveredWithin(15 * time.Second)
}

// killBusy kills a worker at a moment when it holds jobs.
func (r *rig) killBusy(i int) {
	r.Helper()
	r.load.rate.Store(10 * steadyRate)
	held := 0
	for held == 0 {
		r.workers[i].Signal(r.T, syscall.SIGSTOP)
		if held = len(r.heldBy(r.workers[i].Process.Pid)); held == 0 {
			r.workers[i].Signal(r.T, syscall.SIGCONT)
			time.Sleep(10 * time.Millisecond)
		}
	}
	r.workers[i].Signal(r.T, syscall.SIGKILL)
	<-r.workers[i].Done
	r.load.rate.Store(steadyRate)
	r.Logf("the killed worker held %d jobs", held)
}

func TestRepeatedKills(t *testing.T) {
	r := shared(t)
	r.begin(2)
	r.fault(func() {
		for i := range 3 {
			r.killBusy(i)
			r.startWorker()
			time.Sleep(*long / 3)
		}
	})
	r.end()
	r.recoveredWithin(15 * time.Second)
}

// TestTerminatedTwice ends a worker at once; what it held is worked elsewhere.
func TestTerminatedTwice(t *testing.T) {
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

// TestZombie pauses a worker until its jobs were taken over and lets it go on:
// of what it held then it must commit nothing.
func TestZombie(t *testing.T) {
	r := shared(t)
	quick := []string{"TMWORKER_RECOVERY_DEAD_AFTER=2s", "TMWORKER_RECOVERY_HEARTBEAT_INTERVAL=500ms"}
	zombie := r.startWorker(quick...)
	r.startWorker(quick...)
	r.begin(0)
	var held []int64
	r.fault(func() {
		r.load.rate.Store(20 * steadyRate) // so that it holds many jobs
		for len(held) < 20 {
			time.Sleep(300 * time.Millisecond)
			zombie.Signal(t, syscall.SIGSTOP)
			time.Sleep(100 * time.Millisecond)
			if held = r.heldBy(zombie.Process.Pid); len(held) < 20 {
				zombie.Signal(t, syscall.SIGCONT)
			}
		}
		r.load.rate.Store(steadyRate)
		r.takenOver(held)
		zombie.Signal(t, syscall.SIGCONT)
		time.Sleep(time.Second)
	})
	r.end()
	// Each of the jobs was completed once, by the attempt that took it over.
	var byZombie int
	err := r.connect(func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `
			SELECT count(*) FROM river.river_job
			WHERE id = ANY($1) AND (metadata->>'recovered' IS NULL OR array_length(attempted_by, 1) < 2
				OR finalized_at < attempted_at)`, held).Scan(&byZombie)
	})
	if err != nil || byZombie > 0 {
		t.Errorf("%d jobs of the paused worker were not completed by another attempt (%v)", byZombie, err)
	}
	t.Logf("the paused worker held %d jobs; it says: %d times taken over", len(held), strings.Count(zombie.Log(), "taken over"))
}

// heldBy returns the running jobs of the process.
func (r *rig) heldBy(pid int) (ids []int64) {
	r.Helper()
	err := r.connect(func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT id FROM river.river_job WHERE state = 'running' AND attempted_by[array_upper(attempted_by, 1)] LIKE '%-' || $1 || '-%'`, strconv.Itoa(pid))
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

// takenOver waits until every one of the jobs has another attempt.
func (r *rig) takenOver(ids []int64) {
	r.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var left int
		err := r.connect(func(ctx context.Context, conn *pgx.Conn) error {
			return conn.QueryRow(ctx, `SELECT count(*) FROM river.river_job WHERE id = ANY($1) AND array_length(attempted_by, 1) < 2`, ids).Scan(&left)
		})
		if err == nil && left == 0 {
			return
		}
		if time.Now().After(deadline) {
			r.Fatalf("%d of %d jobs were not taken over (%v)", left, len(ids), err)
		}
	}
}

// plant enqueues jobs whose activities have the given load and name.
func (r *rig) plant(n int, load float64, name string) {
	r.Helper()
	for i := range n {
		id := int64(1_000_000 + i)
		_, err := r.load.enqueuer.Ingest(r.Context(), jobs.PriorityLive, jobs.ActivityIngest{Activities: []jobs.Activity{{
			ActivityID: id, UserID: 1 + int32(i%loadUsers), Date: "2025-02-02", TotalLoadMiles: &load, Trimp: new(1.0), Name: &name,
		}}})
		if err != nil {
			r.Fatal(err)
		}
	}
}

// TestSIGTERMDuringBisection stops a worker while it looks for guilty jobs.
func TestSIGTERMDuringBisection(t *testing.T) {
	r := shared(t)
	r.planted = true
	r.exec(`ALTER TABLE activities ADD CONSTRAINT planted CHECK (total_load_miles <> 666)`)
	r.begin(2)
	r.fault(func() {
		r.load.rate.Store(5 * steadyRate)
		r.plant(60, 666, "planted")
		r.stopCleanly(r.workers[0])
		r.load.rate.Store(steadyRate)
	})
	r.end()
}

// TestPanicInABatch has jobs that panic in the middle of their batches.
func TestPanicInABatch(t *testing.T) {
	r := shared(t)
	r.planted = true
	r.begin(2)
	r.fault(func() {
		r.load.rate.Store(5 * steadyRate)
		r.plant(20, 5, "planted panic")
		time.Sleep(*long)
		r.load.rate.Store(steadyRate)
	})
	r.end()
	for _, w := range r.workers {
		if strings.Contains(w.Log(), "goroutine") && strings.Contains(w.Log(), "fatal error") {
			t.Error("a worker crashed")
		}
	}
}
