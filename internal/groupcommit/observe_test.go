package groupcommit

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// record is an Observer that keeps what it was told.
type record struct {
	mu           sync.Mutex
	batches      map[FillReason]int // jobs
	transactions []Transaction
	committed    int
}

func (r *record) Collected(jobs int, reason FillReason) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.batches == nil {
		r.batches = map[FillReason]int{}
	}
	r.batches[reason] += jobs
}

func (r *record) Transacted(t Transaction) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.transactions = append(r.transactions, t)
}

func (r *record) Committed(time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.committed++
}

func TestObserverIsToldOfEveryBatch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		jobs   int
		change func(*Options)
		absent int // executing jobs that never reach the engine
		want   map[FillReason]int
	}{
		"everyone": {jobs: 40, change: func(*Options) {}, want: map[FillReason]int{FilledEveryone: 40}},
		"jobs":     {jobs: 40, change: func(o *Options) { o.MaxBatch, o.Committers = 20, 1 }, want: map[FillReason]int{FilledJobs: 40}},
		"alone":    {jobs: 3, change: func(o *Options) { o.RolloutPercent = 0 }, want: map[FillReason]int{FilledAlone: 3}},
		"linger":   {jobs: 5, change: func(*Options) {}, absent: 1, want: map[FillReason]int{FilledLinger: 5}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := effectsDatabase(t)
			r, o := &record{}, testOptions()
			o.Observer = r
			c.change(&o)
			e := New(pool, o, effectKind(writeEffects))
			e.countExecuting(c.absent)
			workAll(t, e, runningJobs(t, pool, c.jobs))
			if diff := cmp.Diff(c.want, r.batches); diff != "" {
				t.Errorf("jobs by reason (-want +got):\n%s", diff)
			}
			if r.committed != c.jobs {
				t.Errorf("%d jobs committed, want %d", r.committed, c.jobs)
			}
			for _, tx := range r.transactions {
				// BEGIN, the effects, the completion, COMMIT
				if tx.RoundTrips != 4 || tx.Err != nil || tx.Took <= 0 {
					t.Errorf("transaction = %+v, want 4 round trips", tx)
				}
			}
		})
	}
}

func TestObserverIsToldOfFaults(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	r, o := &record{}, testOptions()
	o.Observer = r
	e := New(pool, o, effectKind(writeEffects))
	jobs := runningJobs(t, pool, 4, 1)
	jobs[1].Attempt, jobs[1].MaxAttempts = 1, 1
	workAll(t, e, jobs)
	failed := 0
	for _, tx := range r.transactions {
		if tx.Err != nil {
			failed++
		}
	}
	if failed != 3 || r.committed != 3 { // all four, its half, itself
		t.Errorf("%d transactions failed and %d jobs committed, want 3 and 3: %+v", failed, r.committed, r.transactions)
	}
	if s := e.Stats(); s.Failed != 1 || s.Discarded != 1 || s.Cancelled != 0 {
		t.Errorf("stats = %+v, want one job failed and discarded", s)
	}
}
