package lane

import (
	"testing"
	"time"
)

// TestLoopsShareTheRest: a loop whose own share is empty works jobs of the other loop's
// share.
func TestLoopsShareTheRest(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	exec(t, pool, `INSERT INTO river.river_job (kind, queue, args, max_attempts)
		SELECT 'effect', 'effects', jsonb_build_object('value', i), 25 FROM generate_series(1, 600) AS i WHERE (hashtext(i::text) & 2147483647) % 2 = 1`)
	kind := effectKind()
	kind.ShareBy = []string{"value"}
	l := New(pool, testOptions(t), kind)
	l.contended = time.Now().Add(time.Hour)
	all, last := ask[int](t, pool, `SELECT count(*) FROM river.river_job`), 0
	for i, c := range []struct{ loop, minFound, maxFound int }{{0, 0, 0}, {0, 1, all * 2 / 3}, {1, all / 3, all - 1}} {
		l.size = 500
		found, err := l.turn(t.Context(), c.loop)
		if err != nil || found < c.minFound || found > c.maxFound {
			t.Errorf("turn %d, of loop %d: %d jobs of %d, want %d to %d, %v", i, c.loop, found, all, c.minFound, c.maxFound, err)
		}
		last += found
	}
	if last != all {
		t.Errorf("%d of %d jobs were worked", last, all)
	}
}
