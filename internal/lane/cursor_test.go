package lane

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trainingmonkey/worker/dbpool"
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

// claimAll claims all jobs, in the order of claims, and lets go of them.
func claimAll(t *testing.T, pool *dbpool.Pool) (claimed []queue.Job) {
	t.Helper()
	b := &pgx.Batch{}
	queue.Schema(dbtest.RiverSchema).Claim(b, "test", testOptions(t).Queue, queue.Share{}, queue.Position{}, 1_000_000, &claimed)
	if err := pool.SendBatch(t.Context(), b).Close(); err != nil {
		t.Fatal(err)
	}
	return claimed
}

// startAt makes the next claims start at a time, as after a slow one.
func startAt[T any](l *Lane[T], at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow = true
	for i := range l.cursors {
		l.cursors[i].at = queue.PositionAt(1, at)
	}
}

var longAgo = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// TestCursor: claims start at the beginning until one is slow, then all loops' where the
// last one ended, or those of shares each where its own did.
func TestCursor(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 10)
	exec(t, pool, `UPDATE river.river_job SET scheduled_at = now() - interval '1 hour' + id * interval '1 minute'`)
	found, now := claimAll(t, pool), time.Now()
	l := New(pool, testOptions(t), effectKind())
	all, share := queue.Share{}, queue.Share{Of: 2}
	l.moved(0, l.beginClaim(0, all), now, slowClaim, &found[4])
	if from := l.start(0, all); from != (queue.Position{}) {
		t.Errorf("after a quick claim the next one starts at %v, not at the beginning", from)
	}
	l.moved(0, l.beginClaim(0, all), now, slowClaim+1, &found[4])
	want := found[4].Position().Earlier(overlap)
	for loop := range 2 {
		if from := l.start(loop, all); from != want {
			t.Errorf("after a slow claim one of loop %d starts at %v, want %v", loop, from, want)
		}
	}
	l.moved(1, l.beginClaim(1, share), now, time.Millisecond, &found[6])
	if own, other, both := l.start(1, share), l.start(0, share), l.start(1, all); own == want || other != want || both != want {
		t.Errorf("after a claim of loop 1's share its next one starts at %v, one of loop 0's at %v, and one of all jobs at %v, not %v", own, other, both, want)
	}
	for i := range l.cursors {
		l.cursors[i].setBack(queue.Position{})
	}
	l.moved(0, l.beginClaim(0, all), now, slowClaim, &found[4])
	if from := l.start(0, all); from != (queue.Position{}) {
		t.Errorf("after another quick claim from the beginning the next one starts at %v", from)
	}
}

// TestCursorOfOneMoment: jobs enqueued in one statement have the same time; claims
// still do not pass all the finished ones.
func TestCursorOfOneMoment(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 1000)
	exec(t, pool, `UPDATE river.river_job SET scheduled_at = '2025-01-01 12:00:00+00'`)
	found, now := claimAll(t, pool), time.Now()
	l := New(pool, testOptions(t), effectKind())
	startAt(l, longAgo)
	concurrent := l.beginClaim(1, queue.Share{})
	for _, last := range []int{99, 199, 299} {
		l.moved(0, l.beginClaim(0, queue.Share{}), now, time.Millisecond, &found[last])
	}
	if got, want := l.start(0, queue.Share{}), found[199].Position(); got != want {
		t.Errorf("after claims up to job 299 the next starts at %v, want %v, where the previous one ended", got, want)
	}
	l.moved(1, concurrent, now, time.Millisecond, &found[250])
	if got, want := l.start(0, queue.Share{}), found[199].Position(); got != want {
		t.Errorf("after a claim that ended before another of the same time the next starts at %v, want %v", got, want)
	}
}

// TestCursorOfAnEmptyShare: a loop that walked over a backlog of another loop's share
// does not walk over it again at the next claims.
func TestCursorOfAnEmptyShare(t *testing.T) {
	t.Parallel()
	now, share := time.Now(), queue.Share{Of: 2}
	l := New(&dbpool.Pool{}, testOptions(t), effectKind())
	l.moved(0, l.beginClaim(0, share), now, 400*time.Millisecond, nil)
	if got, want := l.start(0, share), queue.PositionAt(1, now.Add(-clockOverlap)); got != want {
		t.Errorf("the next claim starts at %v, want %v", got, want)
	}
	if got := l.start(0, queue.Share{}); got != (queue.Position{}) {
		t.Errorf("the next claim of all jobs starts at %v, past those of the other loop", got)
	}
}

// TestNoJobIsLeftBehind: claims from the cursors alone find every job, although
// transactions roll back, have no room for all they claimed, and the loops change
// between shares and all jobs.
func TestNoJobIsLeftBehind(t *testing.T) {
	t.Parallel()
	const amount = 3000
	pool := effectsDatabase(t)
	insert(t, pool, amount)
	exec(t, pool, `UPDATE river.river_job SET scheduled_at = now() - interval '1 hour' + id / 100 * interval '2 seconds'`)
	o := testOptions(t)
	o.Loops, o.MaxJobs, o.MaxWeight, o.Newest = 3, 40, 100, false
	kind := effectKind()
	kind.ShareBy = []string{"value"}
	kind.Weigh = func(*effectArgs) int { return 1 + rand.N(5) }
	apply := kind.Apply
	kind.Apply = func(ctx context.Context, tx pgx.Tx, first *pgx.Batch, batch []*Job[effectArgs]) (Writes, error) {
		writes, err := apply(ctx, tx, first, batch)
		time.Sleep(rand.N(5 * time.Millisecond))
		if err == nil && rand.N(5) == 0 {
			err = &pgconn.PgError{Code: "40001"}
		}
		return writes, err
	}
	l := New(pool, o, kind)
	startAt(l, longAgo)
	var loops sync.WaitGroup
	for loop := range o.Loops {
		loops.Go(func() {
			for empty := 0; empty < 100; {
				l.mu.Lock()
				switch rand.N(8) {
				case 0:
					l.contended = time.Now().Add(time.Hour)
				case 1:
					l.contended = time.Time{}
				}
				l.mu.Unlock()
				found, err := l.turn(t.Context(), loop)
				switch {
				case t.Context().Err() != nil:
					return
				case err == nil && found == 0:
					empty++
					time.Sleep(5 * time.Millisecond)
				default:
					empty = 0
				}
			}
		})
	}
	loops.Wait()
	if got := ask[int](t, pool, `SELECT count(*) FROM effects`); got != amount {
		t.Errorf("%d of %d jobs were found", got, amount)
	}
}

// TestRecheck: jobs before the cursors are found, unless nobody may claim them now.
func TestRecheck(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 1)
	exec(t, pool, `UPDATE river.river_job SET scheduled_at = now() - interval '1 hour'`)
	l := New(pool, testOptions(t), effectKind())
	now := time.Now()
	recheck := func() {
		t.Helper()
		startAt(l, now)
		if took, err := l.recheckOnce(t.Context()); took == 0 || err != nil {
			t.Fatalf("recheck took %v, %v", took, err)
		}
	}

	exec(t, pool, `INSERT INTO river.river_queue (name, created_at, updated_at, paused_at) VALUES ('effects', now(), now(), now())`)
	if recheck(); l.hindmost().at != queue.PositionAt(1, now) {
		t.Error("a job of a paused queue set the cursors back")
	}
	exec(t, pool, `UPDATE river.river_queue SET paused_at = NULL`)
	other, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Rollback(t.Context()) //nolint:errcheck // for when the test fails
	if _, err := other.Exec(t.Context(), `SELECT FROM river.river_job FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	if recheck(); l.hindmost().at != queue.PositionAt(1, now) {
		t.Error("a job that another process works set the cursors back")
	}
	if err := other.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	recheck()
	if found, err := l.Turn(t.Context()); found != 1 || err != nil {
		t.Errorf("after a recheck a turn found %d jobs, %v, want the job before the cursors", found, err)
	}
	if recheck(); l.hindmost().at != queue.PositionAt(1, now) {
		t.Error("a finished job set the cursors back")
	}

	insert(t, pool, 3)
	exec(t, pool, `UPDATE river.river_job SET scheduled_at = now() - id * interval '1 hour'`)
	startAt(l, now)
	running(t, l)
	until(t, func() bool { return ask[string](t, pool, jobStates) == "4 completed attempt 1 errors 0" })
}

// TestBeginningThatTakesTooLong: if a claim from the beginning takes longer than a
// transaction may, later jobs are worked, and a recheck finds the earlier ones.
func TestBeginningThatTakesTooLong(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 1)
	exec(t, pool, `UPDATE river.river_job SET scheduled_at = now() - interval '1 hour'`)
	o := testOptions(t)
	o.Newest, o.Timeout = false, 200*time.Millisecond // less than lock_timeout
	l := New(pool, o, effectKind())
	holder, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback(t.Context()) //nolint:errcheck // for when the test fails
	if _, err := holder.Exec(t.Context(), `LOCK TABLE river.river_job IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	if found, err := l.Turn(t.Context()); err == nil {
		t.Fatalf("a claim of a locked table found %d jobs", found)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.options.Timeout, l.size = testOptions(t).Timeout, o.MaxJobs
	insert(t, pool, 2)
	for _, want := range []int{2, 1} {
		if found, err := l.Turn(t.Context()); found != want || err != nil {
			t.Errorf("a turn found %d jobs, %v, want %d", found, err, want)
		}
		if _, err := l.recheckOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLeftoversDoNotKeepTheCursor: each claim has jobs for which the transaction has no room,
// all of one moment, and still the next one does not start where the first did.
func TestLeftoversDoNotKeepTheCursor(t *testing.T) {
	t.Parallel()
	const room = 10
	pool := effectsDatabase(t)
	insert(t, pool, 100)
	exec(t, pool, `UPDATE river.river_job SET scheduled_at = '2025-01-01 12:00:00+00'`)
	found := claimAll(t, pool)
	o := testOptions(t)
	o.Loops, o.MaxJobs, o.MaxWeight, o.Newest = 1, 2*room, room, false
	l := New(pool, o, effectKind())
	startAt(l, longAgo)
	for turn := range 5 {
		l.size = 2 * room
		if worked, err := l.Turn(t.Context()); worked != 2*room || err != nil {
			t.Fatalf("turn %d claimed %d jobs, %v", turn, worked, err)
		}
		if got, want := l.start(0, queue.Share{}), found[turn*room].Position().Predecessor(); turn > 0 && want.After(got) {
			t.Errorf("after turn %d the next claim starts at %v, want it no earlier than that one, %v", turn, got, want)
		}
	}
}
