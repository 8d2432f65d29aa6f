package workers

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// history stores activities without results for users 1 to users: one on most days,
// sometimes two.
func history(t *testing.T, pool *dbpool.Pool, users, days int) {
	t.Helper()
	execute(t, pool, `
		INSERT INTO activities (activity_id, user_id, date, total_load_miles, trimp)
		SELECT row_number() OVER (), u, date '2023-01-01' + d, (u * 7 + d * 13) % 40 / 4.0, nullif((u + d * 11) % 50, 0) * 2
		FROM generate_series(1, $1::int) AS u, generate_series(1, $2::int) AS d, generate_series(0, (u + d) % 5 / 4) AS twice
		WHERE (u + d) % 3 > 0`, users, days)
}

// backfills performs what an operator does to backfills.
type backfills struct {
	*testing.T
	pool     *dbpool.Pool
	enqueuer *jobs.Enqueuer
}

func newBackfills(t *testing.T, pool *dbpool.Pool) *backfills {
	t.Helper()
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	return &backfills{t, pool, enqueuer}
}

func (b *backfills) do(what func(ctx context.Context, tx pgx.Tx) error) {
	b.Helper()
	if err := b.pool.InTx(b.Context(), what); err != nil {
		b.Fatal(err)
	}
}

func (b *backfills) create(scope backfill.Scope) (id int64) {
	b.Helper()
	b.do(func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = backfill.Create(ctx, tx, b.enqueuer, scope, false)
		return err
	})
	return id
}

func (b *backfills) get(id int64) backfill.Backfill {
	b.Helper()
	got, err := backfill.Get(b.Context(), b.pool, dbtest.RiverSchema, id)
	if err != nil {
		b.Fatal(err)
	}
	return got
}

func smallChunks() config.Config {
	c := config.Default()
	c.Backfill.ChunkRows = 300
	return c
}

const versions = `SELECT md5(string_agg(xmin::text, ',' ORDER BY activity_id)) FROM activities`

func TestBackfillCorrectsAllUsersAndThenWritesNothing(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	history(t, pool, 20, 200)
	b := newBackfills(t, pool)
	id := b.create(backfill.Scope{})
	drainWith(t, pool, smallChunks())
	checkOracle(t, pool)
	all := query[int64](t, pool, `SELECT count(*) FROM activities`)
	got := b.get(id)
	if got.State != backfill.Finished || got.EndedAt == nil || got.UserCount != (backfill.Share{Done: 20, Total: 20}) ||
		got.Rows != (backfill.Share{Done: all, Total: all}) || got.RowsChanged != all || got.Chunks.Total < 5 {
		t.Errorf("after the first run: %+v, want %d rows of 20 users done and changed, in several chunks", got, all)
	}
	before := query[string](t, pool, versions)
	id = b.create(backfill.Scope{})
	drainWith(t, pool, smallChunks())
	if after := query[string](t, pool, versions); after != before {
		t.Error("the second run wrote rows that were up to date")
	}
	if got := b.get(id); got.State != backfill.Finished || got.Rows.Done != all || got.RowsChanged != 0 {
		t.Errorf("after the second run: %+v, want %d rows done and none changed", got, all)
	}
}

func TestBackfillOfUsersAndDates(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	history(t, pool, 6, 200)
	b := newBackfills(t, pool)
	from, to := time.Date(2023, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(2023, 3, 10, 0, 0, 0, 0, time.UTC)
	b.create(backfill.Scope{Users: []int32{5, 2, 5}, From: &from, To: &to})
	drainWith(t, pool, smallChunks())
	outside := query[int](t, pool, `SELECT count(*) FROM activities WHERE acute_chronic_ratio IS NOT NULL
		AND (user_id NOT IN (2, 5) OR date NOT BETWEEN '2023-03-01' AND date '2023-03-10' + 27)`)
	missing := query[int](t, pool, `SELECT count(*) FROM activities WHERE acute_chronic_ratio IS NULL
		AND user_id IN (2, 5) AND date BETWEEN '2023-03-01' AND date '2023-03-10' + 27`)
	if outside > 0 || missing > 0 {
		t.Errorf("%d rows outside the scope were written, %d inside were not", outside, missing)
	}
}

func TestPoisonedUserFailsInIsolation(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	history(t, pool, 12, 100)
	execute(t, pool, `ALTER TABLE activities ADD CONSTRAINT poison CHECK (user_id <> 7 OR acute_chronic_ratio IS NULL)`)
	b := newBackfills(t, pool)
	id := b.create(backfill.Scope{})
	drainWith(t, pool, smallChunks())
	if missing := query[string](t, pool, `SELECT coalesce(string_agg(DISTINCT user_id::text, ','), '') FROM activities WHERE acute_chronic_ratio IS NULL`); missing != "7" {
		t.Errorf("users without values: %s, want 7 alone", missing)
	}
	failures, err := backfill.Failures(t.Context(), pool, dbtest.RiverSchema, id)
	if err != nil || len(failures) != 1 || !strings.Contains(failures[0].Reason, "user 7:") || !strings.Contains(failures[0].Reason, "poison") {
		t.Fatalf("failures = %+v, %v, want one that names user 7 and the reason", failures, err)
	}
	if got := b.get(id); got.State != backfill.Finished || got.FailedChunks != 1 {
		t.Errorf("%+v, want finished with one failed chunk", got)
	}

	execute(t, pool, `ALTER TABLE activities DROP CONSTRAINT poison`)
	b.do(func(ctx context.Context, tx pgx.Tx) error {
		return backfill.Resume(ctx, tx, b.enqueuer, dbtest.RiverSchema, id)
	})
	drainWith(t, pool, smallChunks())
	checkOracle(t, pool)
	if got := b.get(id); got.State != backfill.Finished || got.FailedChunks != 0 {
		t.Errorf("resumed: %+v, want finished without failures", got)
	}
}

func TestPauseResumeCancel(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	history(t, pool, 20, 200)
	b := newBackfills(t, pool)
	id := b.create(backfill.Scope{})
	pause := func(ctx context.Context, tx pgx.Tx) error { return backfill.Pause(ctx, tx, id) }
	resume := func(ctx context.Context, tx pgx.Tx) error {
		return backfill.Resume(ctx, tx, b.enqueuer, dbtest.RiverSchema, id)
	}
	b.do(pause)
	drainWith(t, pool, smallChunks())
	if got := b.get(id); got.State != backfill.Paused || got.Chunks.Total != 0 {
		t.Errorf("paused before it was planned: %+v, want nothing done", got)
	}

	// A backfill paused while chunks are worked completes each of them or leaves it untouched.
	b.do(resume)
	s := newService(t, pool, smallChunks())
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() { stopped <- s.Run(ctx) }()
	for b.get(id).Chunks.Done == 0 {
		time.Sleep(time.Millisecond)
	}
	b.do(pause)
	paused := b.get(id)
	time.Sleep(200 * time.Millisecond)
	if later := b.get(id); later.Chunks.Done != paused.Chunks.Done {
		t.Errorf("%d chunks were done after the pause", later.Chunks.Done-paused.Chunks.Done)
	}
	wrongUsers := query[int](t, pool, `SELECT count(*) FROM (SELECT user_id FROM activities GROUP BY user_id HAVING count(acute_chronic_ratio) NOT IN (0, count(*))) AS half`)
	if wrongUsers > 0 {
		t.Errorf("%d users are partly computed", wrongUsers)
	}
	b.do(resume)
	for end := time.Now().Add(20 * time.Second); b.get(id).State != backfill.Finished; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("resumed, but not finished: %+v", b.get(id))
		}
	}
	checkOracle(t, pool)

	// A cancelled backfill ends and cannot be resumed.
	id = b.create(backfill.Scope{})
	b.do(func(ctx context.Context, tx pgx.Tx) error { return backfill.Cancel(ctx, tx, id) })
	if err := pool.InTx(t.Context(), resume); !errors.Is(err, backfill.ErrCancelled) {
		t.Errorf("resume of a cancelled backfill = %v, want ErrCancelled", err)
	}
	stop()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if got := b.get(id); got.State != backfill.Cancelled || got.EndedAt == nil {
		t.Errorf("%+v, want cancelled with the time", got)
	}
}

func TestSecondBackfillOfTheSameScopeIsRefused(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	history(t, pool, 3, 50)
	b := newBackfills(t, pool)
	first := b.create(backfill.Scope{Users: []int32{1, 2}})
	again := func(force bool) error {
		return pool.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
			_, err := backfill.Create(ctx, tx, b.enqueuer, backfill.Scope{Users: []int32{2, 1}}, force)
			return err
		})
	}
	var running *backfill.RunningError
	if err := again(false); !errors.As(err, &running) || running.ID != first {
		t.Errorf("a second backfill = %v, want a refusal that names %d", err, first)
	}
	b.create(backfill.Scope{Users: []int32{3}})
	if err := again(true); err != nil {
		t.Errorf("forced: %v", err)
	}
	drainWith(t, pool, smallChunks())
	if err := again(false); err != nil {
		t.Errorf("after the first is finished: %v", err)
	}
}

// TestLostChunkIsReported: a chunk whose job was discarded is no longer worked.
func TestLostChunkIsReported(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	history(t, pool, 3, 50)
	b := newBackfills(t, pool)
	id := b.create(backfill.Scope{})
	b.do(func(ctx context.Context, tx pgx.Tx) error { return backfill.Plan(ctx, tx, b.enqueuer, id, 5000) })
	execute(t, pool, `UPDATE river.river_job SET state = 'discarded', finalized_at = now() WHERE (args->>'chunk')::int > 0`)
	if got := b.get(id); got.FailedChunks != 1 || got.State != backfill.Finished {
		t.Errorf("%+v, want one failed chunk", got)
	}
	b.do(func(ctx context.Context, tx pgx.Tx) error {
		return backfill.Resume(ctx, tx, b.enqueuer, dbtest.RiverSchema, id)
	})
	drainWith(t, pool, smallChunks())
	checkOracle(t, pool)
}
