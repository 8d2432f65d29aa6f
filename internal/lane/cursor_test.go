package lane

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestNewestShare: under a backlog, each claim takes some of the newest jobs.
func TestNewestShare(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 1000)
	o := testOptions(t)
	o.MaxJobs = 100
	l := New(pool, o, effectKind())
	for range 2 {
		if _, err := l.Turn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := ask[int](t, pool, `SELECT count(*) FROM effects WHERE job_id > (SELECT max(id) - 100 FROM river.river_job)`); got < 5 || got > 50 {
		t.Errorf("%d of the newest 100 jobs were worked in the second turn, want about a quarter of the turn", got)
	}
}

// TestNewestThatCommitsLate: a job that becomes visible after newer ones were worked
// still counts as one of the newest, not as backlog.
func TestNewestThatCommitsLate(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 1000)
	o := testOptions(t)
	o.MaxJobs = 20
	l := New(pool, o, effectKind())
	turn := func() {
		t.Helper()
		if _, err := l.Turn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	turn()
	l.cursors[0].newestFrom = l.cursors[0].newest // as after newestDepth jobs
	late, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer late.Rollback(t.Context()) //nolint:errcheck // for when the test fails
	if _, err := late.Exec(t.Context(), `INSERT INTO river.river_job (kind, queue, args, max_attempts) VALUES ('effect', 'effects', '{"value": 601}', 25)`); err != nil {
		t.Fatal(err)
	}
	exec(t, pool, `INSERT INTO river.river_job (kind, queue, args, max_attempts) VALUES ('effect', 'effects', '{"value": 602}', 25)`)
	turn()
	if err := late.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	turn()
	if got := ask[string](t, pool, `SELECT coalesce(string_agg(value::text, ' ' ORDER BY value), '') FROM effects WHERE value > 600`); got != "601 602" {
		t.Errorf("of the newest two jobs these were worked: %q", got)
	}
}

// TestNewestDepth: claims of the newest jobs pass a bounded number of finished ones,
// even if all jobs have the same time, and find newer jobs.
func TestNewestDepth(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 3*newestDepth)
	schema := queue.Schema(dbtest.RiverSchema)
	var c cursor
	claim := func(limit int) (claimed []queue.Job) {
		t.Helper()
		tx, err := pool.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b := &pgx.Batch{}
		schema.ClaimNewest(b, "test", testOptions(t).Queue, queue.Share{}, c.newestFrom, limit, &claimed)
		ids := make([]int64, 0, limit)
		err = tx.SendBatch(t.Context(), b).Close()
		for _, j := range claimed {
			ids = append(ids, j.ID)
		}
		b = &pgx.Batch{}
		schema.Complete(b, queue.Attempt{Client: "test", Keep: true}, ids)
		if err := errors.Join(err, tx.SendBatch(t.Context(), b).Close(), tx.Commit(t.Context())); err != nil {
			t.Fatal(err)
		}
		c.movedNewest(limit, claimed)
		return claimed
	}
	got := 0
	for range 10 {
		got += len(claim(newestDepth / 4))
	}
	if got != newestDepth {
		t.Errorf("claims of the newest took %d jobs of the same time, want %d", got, newestDepth)
	}
	insert(t, pool, 3)
	if got := len(claim(2)) + len(claim(2)) + len(claim(2)); got != 3 {
		t.Errorf("%d of 3 newer jobs were claimed", got)
	}
}

// TestCursor: claims from the beginning become rare while they are slow.
func TestCursor(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 1)
	at := position(t, pool, ask[int64](t, pool, `SELECT id FROM river.river_job`))
	now := time.Now()
	var c cursor
	job := &queue.Job{}
	c.moved(queue.Position{}, time.Millisecond, now, job)
	if c.start(now) != (queue.Position{}) {
		t.Error("after a quick claim the next one does not start from the beginning")
	}
	c.moved(queue.Position{}, 50*time.Millisecond, now, job)
	c.at = at
	if c.start(now.Add(500*time.Millisecond)) != at || c.start(now.Add(2*time.Second)) != (queue.Position{}) {
		t.Error("after a slow claim the next ones do not start where it ended, or never start from the beginning")
	}
	c.reset()
	if c.start(now) != (queue.Position{}) {
		t.Error("after a rollback the next claim does not start from the beginning")
	}
}

// TestCursorOfOneMoment: jobs enqueued in one statement have the same time; claims
// still do not pass all the finished ones.
func TestCursorOfOneMoment(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 1000)
	exec(t, pool, `UPDATE river.river_job SET scheduled_at = '2025-01-01 12:00:00+00'`)
	var claimed []queue.Job
	b := &pgx.Batch{}
	queue.Schema(dbtest.RiverSchema).Claim(b, "test", testOptions(t).Queue, queue.Share{}, queue.Position{}, 1000, &claimed)
	if err := pool.SendBatch(t.Context(), b).Close(); err != nil || len(claimed) != 1000 {
		t.Fatalf("%d jobs, %v, want 1,000", len(claimed), err)
	}
	now := time.Now()
	c := cursor{at: claimed[0].Position(), backlog: true, slow: true, beginning: now.Add(time.Hour)}
	for _, last := range []int{99, 199, 299} {
		c.moved(c.at, time.Millisecond, now, &claimed[last])
	}
	if got, want := c.start(now), claimed[199].Position(); got != want {
		t.Errorf("after claims up to job 299 the next starts at %v, want %v, where the previous one ended", got, want)
	}
	c.moved(queue.Position{}, 50*time.Millisecond, now, &claimed[10])
	if got, want := c.start(now), claimed[10].Position().Before(overlap); got != want {
		t.Errorf("after a claim from the beginning that found late jobs the next starts at %v, want %v", got, want)
	}
}

// TestCursorOfAnEmptyShare: a loop that walked over a backlog of another loop's share
// does not walk over it again at the next claims.
func TestCursorOfAnEmptyShare(t *testing.T) {
	t.Parallel()
	now, c := time.Now(), cursor{}
	c.moved(c.start(now), 400*time.Millisecond, now, nil)
	if got, want := c.start(now.Add(time.Second)), queue.PositionAt(now).Before(clockOverlap); got != want {
		t.Errorf("the next claim starts at %v, want %v", got, want)
	}
	if got := c.start(now.Add(beginningShare * 400 * time.Millisecond)); got != (queue.Position{}) {
		t.Errorf("after a while a claim starts at %v, want the beginning", got)
	}
}
