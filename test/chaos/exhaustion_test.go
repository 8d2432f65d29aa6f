//go:build chaos

package chaos

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/jobs"
)

// smallWorker runs the worker with little memory.
const smallWorker = "#!/bin/sh\nulimit -v 1950000\nexec \"$(dirname \"$0\")/worker\" \"$@\"\n"

// ranOutOfMemory matches how a process reports it: by Go's runtime, or by the C library
// when it cannot start a thread.
var ranOutOfMemory = regexp.MustCompile(`out of memory|cannot allocate memory|pthread_create failed`)

// TestJobThatKillsItsProcess enqueues a job that exhausts its process's memory, among
// others, and restarts the process whenever it dies.
func TestJobThatKillsItsProcess(t *testing.T) {
	const maxDeaths = 5
	r := shared(t)
	if err := os.WriteFile(filepath.Join(string(commands), "small-worker"), []byte(smallWorker), 0o700); err != nil {
		t.Fatal(err)
	}
	r.load = startLoad(t, r.url)
	time.Sleep(500 * time.Millisecond) // so that other jobs come before and after it
	r.enqueuePoison(1, 5, "injected exhaustion")
	stop := make(chan struct{})
	recalculated := make(chan int)
	go func() { recalculated <- r.recalculate(stop) }()
	time.Sleep(500 * time.Millisecond)

	began := time.Now()
	w := r.start(commands, "small-worker", settings)
	deaths, ended := 0, time.Time{}
	for deadline := began.Add(45 * time.Second); ended.IsZero(); {
		select {
		case <-w.Done:
			if !ranOutOfMemory.MatchString(w.Log()) {
				t.Fatalf("a worker ended for another reason:\n%s", w.Log())
			}
			if deaths++; deaths > 2*maxDeaths {
				t.Fatal("the process keeps dying")
			}
			w = r.start(commands, "small-worker", settings)
		case <-time.After(20 * time.Millisecond):
		}
		if r.count(`SELECT count(*) FROM river.river_job WHERE id = ANY($1) AND state = 'discarded'`, r.injected) == 1 {
			ended = time.Now()
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d deaths, and the job is not discarded: %s", deaths, r.whatIsUnfinished())
		}
	}
	t.Logf("discarded after %d deaths and %v", deaths, ended.Sub(began).Round(10*time.Millisecond))
	if deaths == 0 || deaths > maxDeaths {
		t.Errorf("%d deaths, want 1 to %d", deaths, maxDeaths)
	}
	meanwhile := r.count(`SELECT count(*) FROM river.river_job WHERE kind = 'acwr_recalc' AND state = 'completed' AND finalized_at < $1`, ended)
	close(stop)
	enqueued := <-recalculated
	r.faultBegan, r.faultEnded = began, ended
	r.end()
	t.Logf("%d of %d recalculations were done until then", meanwhile, enqueued)
	if meanwhile == 0 {
		t.Error("no recalculation was done while the process kept dying")
	}
}

// recalculate enqueues recalculations until it is stopped.
func (r *rig) recalculate(stop <-chan struct{}) (enqueued int) {
	for {
		select {
		case <-stop:
			return enqueued
		case <-time.After(20 * time.Millisecond):
		}
		_, err := r.load.enqueuer.Recalc(r.Context(), jobs.PriorityLive, jobs.ACWRRecalc{
			Ranges: []jobs.DateRange{{UserID: int32(500 + enqueued), From: "2025-01-01", To: "2025-02-01"}},
		})
		if err != nil {
			r.Errorf("enqueue a recalculation: %v", err)
			return enqueued
		}
		enqueued++
	}
}
