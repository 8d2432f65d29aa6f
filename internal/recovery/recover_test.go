package recovery

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/internal/dbtest"
)

func TestJobsOfTheDeadReturn(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	p := joined(t, pool, "me")
	die(t, pool, "dead")
	const ofTheDead, untouched = true, false
	for name, c := range map[string]struct {
		dead bool
		set  string
		want string
	}{
		"refunded":              {ofTheDead, ``, `available 2 {"recovered": 1} due`},
		"first attempt":         {ofTheDead, `attempt = 1`, `available 0 {"recovered": 1} due`},
		"counted":               {ofTheDead, `metadata = '{"recovered": 9, "a": 1}'`, `available 2 {"a": 1, "recovered": 10} due`},
		"due later by mistake":  {ofTheDead, `scheduled_at = now() + interval '1 day'`, `available 2 {"recovered": 1} due`},
		"spent":                 {ofTheDead, `metadata = '{"recovered": 10}'`, `available 3 {"recovered": 11} its process died while it ran, for the 11. time due`},
		"last attempt":          {ofTheDead, `attempt = 25`, `available 24 {"recovered": 1} due`},
		"last attempt, spent":   {ofTheDead, `attempt = 25, metadata = '{"recovered": 10}'`, `discarded 25 {"recovered": 11} its process died while it ran, for the 11. time finalized`},
		"beyond the last":       {ofTheDead, `attempt = 26, metadata = '{"recovered": 34}'`, `discarded 26 {"recovered": 35} its process died while it ran, for the 35. time finalized`},
		"cancelled":             {ofTheDead, `metadata = '{"cancel_attempted_at": "2025-01-01T00:00:00Z"}'`, `cancelled 3 {"recovered": 1, "cancel_attempted_at": "2025-01-01T00:00:00Z"} finalized`},
		"count is no number":    {ofTheDead, `metadata = '{"recovered": "often"}'`, `available 2 {"recovered": 1} due`},
		"count is huge":         {ofTheDead, `metadata = '{"recovered": 1e300}', attempt = 25`, ``},
		"metadata is no object": {ofTheDead, `metadata = '"x"'`, `available 2 ["x", {"recovered": 1}] due`},
		"last held by the dead": {untouched, `attempted_by = '{dead,me}'`, ``},
		"of the living":         {untouched, `attempted_by = '{me}'`, ``},
		"of a stranger":         {untouched, `attempted_by = '{stranger}'`, ``},
		"of nobody":             {untouched, `attempted_by = NULL`, ``},
		"not running":           {untouched, `state = 'retryable'`, ``},
		"completed":             {untouched, `state = 'completed', finalized_at = now()`, ``},
	} {
		id := running(t, pool, "dead", c.set)
		before := row(t, pool, id)
		look(t, p)
		if after := row(t, pool, id); !c.dead && after != before {
			t.Errorf("%s: row was %s, is %s", name, before, after)
		}
		if got := job(t, pool, id); c.want != "" && got != c.want {
			t.Errorf("%s: job is %s, want %s", name, got, c.want)
		}
		exec(t, pool, `DELETE FROM river.river_job`)
	}
	if got := p.Recovered(); got != 12 {
		t.Errorf("Recovered() = %d, want 12", got)
	}
}

// TestJobThatKillsEveryProcessEnds is fetched again and again, as River does it.
func TestJobThatKillsEveryProcessEnds(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	p := joined(t, pool, "me")
	die(t, pool, "dead")
	id := running(t, pool, "dead", `attempt = 1, max_attempts = 4`)
	deaths := 0
	for one[string](t, pool, `SELECT state FROM river.river_job WHERE id = $1`, id) != "discarded" {
		if deaths++; deaths > 50 {
			t.Fatalf("after %d deaths: %s", deaths, job(t, pool, id))
		}
		look(t, p)
		exec(t, pool, `UPDATE river.river_job SET state = 'running', attempt = attempt + 1, attempted_at = now(), attempted_by = attempted_by || '{dead}'
			WHERE id = $1 AND state = 'available'`, id)
		if got := one[int](t, pool, `SELECT attempt FROM river.river_job WHERE id = $1`, id); got > 4 {
			t.Fatalf("attempt = %d of at most 4", got)
		}
	}
	if deaths != mostRefunds+4 {
		t.Errorf("discarded after %d deaths, want %d refunded and 4 attempts spent", deaths, mostRefunds)
	}
	var errs []json.RawMessage
	if err := pool.QueryRow(t.Context(), `SELECT to_jsonb(errors) FROM river.river_job WHERE id = $1`, id).Scan(&errs); err != nil {
		t.Fatal(err)
	}
	if len(errs) != 4 {
		t.Errorf("%d errors, want one for each spent attempt", len(errs))
	}
	for i, raw := range errs {
		var e rivertype.AttemptError
		if err := json.Unmarshal(raw, &e); err != nil || e.Attempt != i+1 || time.Since(e.At).Abs() > time.Minute || e.Error == "" {
			t.Errorf("error %d = %s (%v), want one that River reads", i, raw, err)
		}
	}
}

func TestProcessesRecoverEachJobOnce(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	die(t, pool, "dead")
	const jobs, processes = 500, 6
	exec(t, pool, `INSERT INTO river.river_job (kind, args, state, attempt, attempted_at, attempted_by, max_attempts)
		SELECT 'any', '{}', 'running', 1, now(), '{dead}', 25 FROM generate_series(1, $1)`, jobs)
	var all []*Process
	for i := range processes {
		all = append(all, joined(t, pool, fmt.Sprint("process ", i)))
	}
	var wg sync.WaitGroup
	for _, p := range all {
		wg.Go(func() {
			for range 5 {
				if err := p.beatAndRecover(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	var sum int64
	for _, p := range all {
		sum += p.Recovered()
	}
	if got := one[int](t, pool, `SELECT count(*) FROM river.river_job WHERE state = 'available' AND attempt = 0 AND metadata = '{"recovered": 1}'`); got != jobs || sum != jobs {
		t.Errorf("%d jobs recovered once, %d in all; want %d", got, sum, jobs)
	}
}

// TestRecoveryLeavesLockedJobsToTheirHolder has a commit under way when its
// process is believed dead.
func TestRecoveryLeavesLockedJobsToTheirHolder(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	p := joined(t, pool, "me")
	die(t, pool, "dead")
	locked, free := running(t, pool, "dead", ``), running(t, pool, "dead", ``)
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `UPDATE river.river_job SET state = 'completed', finalized_at = now() WHERE id = $1`, locked); err != nil {
		t.Fatal(err)
	}
	look(t, p)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := job(t, pool, locked); got != "completed 3 {} finalized" {
		t.Errorf("job whose commit was under way is %s", got)
	}
	if got := job(t, pool, free); !strings.HasPrefix(got, "available") {
		t.Errorf("its neighbour is %s", got)
	}
}

func TestRecoveryWakesTheWorkers(t *testing.T) {
	t.Parallel()
	url := dbtest.MigratedURL(t)
	pool := dbtest.Open(t, url)
	p := joined(t, pool, "me")
	die(t, pool, "dead")
	running(t, pool, "dead", `queue = 'one'`)
	running(t, pool, "dead", `queue = 'two'`)
	running(t, pool, "dead", `queue = 'two'`)
	listener, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close(context.WithoutCancel(t.Context())) }()
	if _, err := listener.Exec(t.Context(), `LISTEN "river.river_insert"`); err != nil {
		t.Fatal(err)
	}
	look(t, p)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	got := map[string]bool{}
	for range 2 {
		n, err := listener.WaitForNotification(ctx)
		if err != nil {
			t.Fatalf("notified of %v: %v", got, err)
		}
		var payload struct{ Queue string }
		if err := json.Unmarshal([]byte(n.Payload), &payload); err != nil {
			t.Fatalf("payload %s: %v", n.Payload, err)
		}
		got[payload.Queue] = true
	}
	if !got["one"] || !got["two"] {
		t.Errorf("notified of %v, want both queues", got)
	}
}
