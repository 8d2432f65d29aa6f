//go:build chaos

package chaos

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/oracle"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestBackfillUnderRepeatedKills kills every worker repeatedly until 300,000 rows are
// correct. Only chunks in progress are worked again.
func TestBackfillUnderRepeatedKills(t *testing.T) {
	const killEvery = 2 * time.Second // a third of the time without kills; longer if no chunk is done yet
	r := shared(t)
	r.exec(`
		INSERT INTO activities (activity_id, user_id, date, total_load_miles, trimp)
		SELECT d * 1000 + u, u, date '2022-01-01' + d, (u * 7 + d * 13) % 80 / 8.0, (u * 3 + d * 29) % 200
		FROM generate_series(1, 1000) AS d, generate_series(1, 300) AS u`)
	r.exec(`ANALYZE activities`)
	pool := r.pool()
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	var id int64
	err = pool.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = backfill.Create(ctx, tx, enqueuer, backfill.Scope{}, false)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	var finished atomic.Bool
	var done atomic.Int64 // chunks
	watched := make(chan backfill.Backfill)
	go func() {
		var last backfill.Backfill
		for deadline := time.Now().Add(3 * time.Minute); last.State != backfill.Finished && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			now, err := backfill.Get(context.WithoutCancel(t.Context()), pool, dbtest.RiverSchema, id)
			if err != nil {
				continue
			}
			if now.Rows.Done < last.Rows.Done || now.RowsChanged < last.RowsChanged || now.Rows.Total < last.Rows.Total {
				t.Errorf("progress ran backwards: %+v after %+v", now, last)
			}
			last = now
			done.Store(now.Chunks.Done)
		}
		finished.Store(true)
		watched <- last
	}()
	started, kills, again := time.Now(), 0, 0
	for !finished.Load() {
		for range 2 {
			r.startWorker("TMWORKER_BACKFILL_CHUNK_ROWS=1000", "TMWORKER_BACKFILL_WORKERS=1")
		}
		before := done.Load()
		for end := time.Now().Add(killEvery); !finished.Load() && (time.Now().Before(end) || done.Load() == before); {
			time.Sleep(20 * time.Millisecond)
		}
		if finished.Load() {
			break
		}
		kills++
		for _, w := range r.workers {
			w.Signal(t, syscall.SIGSTOP)
			time.Sleep(closing)
			again += len(r.heldBy(w))
			w.Signal(t, syscall.SIGKILL)
			<-w.Done
		}
		r.workers = nil
	}
	got := <-watched
	if got.State != backfill.Finished || got.FailedChunks > 0 || got.Rows.Done != 300_000 || got.RowsChanged != 300_000 {
		t.Fatalf("%+v, want 300,000 rows done and changed once each", got)
	}
	r.stopWorkers()
	wrong, total, err := oracle.Check(t.Context(), pool)
	if err != nil || total > 0 {
		t.Errorf("%d rows are wrong: %v %v", total, wrong, err)
	}
	work := float64(got.Chunks.Total+int64(again)) / float64(got.Chunks.Total)
	t.Logf("%d kills in %v, %d chunks, %d of them worked again: %.2f × the work", kills, time.Since(started).Round(time.Second), got.Chunks.Total, again, work)
	if kills == 0 {
		t.Error("the backfill finished before the first kill")
	}
	if work > 1.3 {
		t.Errorf("%.2f × the work, want at most 1.3 ×", work)
	}
}
