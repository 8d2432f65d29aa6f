package lane

import (
	"errors"
	"testing"
	"time"

	"github.com/trainingmonkey/worker/internal/queue"
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

// TestClaimDuringADivision: a claim that began before the rest was divided anew leaves no jobs
// of its loop's new share behind its cursor.
func TestClaimDuringADivision(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 1000)
	o := testOptions(t)
	o.Newest = false
	kind := effectKind()
	kind.ShareBy = []string{"value"}
	l := New(pool, o, kind)
	l.contended = time.Now().Add(time.Hour)
	var hindmost queue.Position
	claim := func() error {
		holder, err := pool.Begin(t.Context())
		if err != nil {
			return err
		}
		defer holder.Rollback(t.Context()) //nolint:errcheck // also where the test fails
		if _, err := holder.Exec(t.Context(), `LOCK TABLE river.river_job IN ACCESS EXCLUSIVE MODE`); err != nil {
			return err
		}
		l.size = 100
		ended := make(chan error)
		go func() {
			_, err := l.turn(t.Context(), 0)
			ended <- err
		}()
		until(t, func() bool {
			return ask[bool](t, pool, `SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`)
		})
		l.mu.Lock()
		l.shareRest(time.Now())
		hindmost = l.cursors[0].at
		l.mu.Unlock()
		return errors.Join(holder.Rollback(t.Context()), <-ended)
	}
	err := claim()
	for isLockTimeout(err) { // on a busy machine
		err = claim()
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := ask[int](t, pool, `SELECT count(*) FROM effects`); got == 0 {
		t.Error("the claim found nothing")
	}
	if at := l.cursors[0].at; at != hindmost {
		t.Errorf("the cursor moved from %v to %v, past jobs of the loop's new share", hindmost, at)
	}
}
