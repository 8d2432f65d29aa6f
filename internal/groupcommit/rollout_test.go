package groupcommit

import (
	"math"
	"testing"
)

func TestInRollout(t *testing.T) {
	t.Parallel()
	const ids = 100_000
	for _, first := range []int64{0, 1 << 40, math.MaxInt64 - 2*ids} {
		for _, stride := range []int64{1, 2} { // sequences may skip
			before := 0
			for percent := range 101 {
				in := 0
				for id := first; id < first+ids*stride; id += stride {
					if !inRollout(id, percent) {
						continue
					}
					in++
					if percent < 100 && !inRollout(id, percent+1) {
						t.Fatalf("job %d is in at %d percent and out at %d", id, percent, percent+1)
					}
				}
				if want := float64(percent) / 100 * ids; math.Abs(float64(in)-want) > ids/200 {
					t.Errorf("ids from %d by %d: %d of %d in at %d percent", first, stride, in, ids, percent)
				}
				if in < before {
					t.Errorf("fewer in at %d percent than below", percent)
				}
				before = in
			}
			if before != ids {
				t.Errorf("%d of %d in at 100 percent", before, ids)
			}
		}
	}
}

func TestJobsOutsideTheRolloutGoAlone(t *testing.T) {
	t.Parallel()
	for _, percent := range []int{0, 30} {
		pool := effectsDatabase(t)
		options := testOptions()
		options.RolloutPercent = percent
		e := New(pool, options, effectKind(writeEffects))
		jobs := runningJobs(t, pool, 60)
		alone := 0
		for _, job := range jobs {
			if !inRollout(job.ID, percent) {
				alone++
			}
		}
		for i, err := range workAll(t, e, jobs) {
			if err != nil {
				t.Errorf("verdict of job %d = %v, want nil", i, err)
			}
		}
		s := e.Stats()
		if s.Transactions < int64(alone) || (percent == 0 && s.Transactions != 60) || (percent > 0 && s.Transactions == 60) {
			t.Errorf("at %d percent, 60 jobs of which %d go alone took %d transactions", percent, alone, s.Transactions)
		}
		if got := completedJobs(t, pool); got != 60 {
			t.Errorf("at %d percent: completed jobs = %d, want 60", percent, got)
		}
	}
}
