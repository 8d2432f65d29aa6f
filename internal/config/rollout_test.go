package config_test

import (
	"math"
	"testing"

	"github.com/trainingmonkey/worker/internal/config"
)

func TestShareIsEvenAndGrows(t *testing.T) {
	t.Parallel()
	const ids = 100_000
	for _, first := range []int64{0, 1 << 40, math.MaxInt64 - 2*ids} {
		for _, stride := range []int64{1, 2} { // sequences may skip
			before := 0
			for percent := range 101 {
				in := 0
				for id := first; id < first+ids*stride; id += stride {
					if !config.InRollout(id, percent) {
						continue
					}
					in++
					if percent < 100 && !config.InRollout(id, percent+1) {
						t.Fatalf("id %d is in at %d percent and out at %d", id, percent, percent+1)
					}
				}
				if want := float64(percent) / 100 * ids; math.Abs(float64(in)-want) > ids/200 {
					t.Errorf("ids from %d by %d: %d of %d in at %d percent", first, stride, in, ids, percent)
				}
				if in < before {
					t.Errorf("fewer in at %d percent than at a lower one", percent)
				}
				before = in
			}
			if before != ids {
				t.Errorf("%d of %d in at 100 percent", before, ids)
			}
		}
	}
}
