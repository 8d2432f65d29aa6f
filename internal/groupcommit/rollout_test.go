package groupcommit

import (
	"testing"

	"github.com/trainingmonkey/worker/internal/rollout"
)

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
			if !rollout.Includes(job.ID, percent) {
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
