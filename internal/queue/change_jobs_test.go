package queue

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestRetryWakesWorkers: a retry notifies like an insert, and only the queues in which
// a job became available.
func TestRetryWakesWorkers(t *testing.T) {
	t.Parallel()
	pool := oneOfEachState(t)
	a, err := NewAdmin(pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), `LISTEN "river.river_insert"`); err != nil {
		t.Fatal(err)
	}
	do := func(action Action) (changed int64) {
		t.Helper()
		p, err := a.PreviewJobs(t.Context(), action, Filter{})
		if err == nil {
			changed, err = a.ChangeJobs(t.Context(), action, Filter{}, p)
		}
		if err != nil || changed != p.Jobs {
			t.Fatalf("%s changed %d jobs, %v; want %d", action.Name, changed, err, p.Jobs)
		}
		return changed
	}
	if got := do(Discard); got != 4 {
		t.Errorf("discarded %d jobs, want 4", got)
	}
	if got := do(Retry); got != 6 {
		t.Errorf("retried %d jobs, want 6", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	n, err := conn.Conn().WaitForNotification(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var payload map[string]string
	if err := json.Unmarshal([]byte(n.Payload), &payload); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"queue": "recalc"}, payload); diff != "" {
		t.Errorf("payload (-want +got):\n%s", diff)
	}
	if got := do(Cancel); got != 7 {
		t.Errorf("cancelled %d jobs, the running one included, want 7", got)
	}
}
