package web_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/web"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// answers reports whether Prometheus would consider the target up.
func answers(ctx context.Context, address string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_, readErr := io.Copy(io.Discard, response.Body)
	return errors.Join(readErr, response.Body.Close()) == nil && response.StatusCode == http.StatusOK
}

// TestNoWorker causes NoWorker: the only target goes down, and another process comes up
// at its address.
func TestNoWorker(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	for range 2 {
		server, err := web.Listen(t.Context(), r.options)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- server.Serve() }()
		address := server.Address()
		if !answers(t.Context(), address) {
			t.Error("a worker that serves is not up")
		}
		server.Shutdown(t.Context())
		if err := <-done; err != nil {
			t.Error(err)
		}
		if answers(t.Context(), address) {
			t.Error("a worker that is gone is up")
		}
		r.options.Access.Listen = address
	}
}

// TestOverviewOld causes OverviewOld and ends it: the age is that of the last snapshot
// that succeeded.
func TestOverviewOld(t *testing.T) {
	t.Parallel()
	through, proxy := proxied(t, dbtest.MigratedURL(t))
	r := newRig(t, through)
	r.keepTakingSnapshots()
	r.value(`tmworker_overview_age_seconds`, soon, func(age float64) bool { return age < 1 })
	proxy.Stop()
	r.value(`tmworker_overview_age_seconds`, soon, above(3))
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	r.value(`tmworker_overview_age_seconds`, soon, func(age float64) bool { return age < 1 })
}

// TestBackfillThatStands causes BackfillStands, by a lock, and BackfillChunksFailed, by
// a row that is refused, and ends both.
func TestBackfillThatStands(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.MigratedURL(t)
	r := newRig(t, databaseURL, func(c *config.Config) { c.Backfill.ChunkRows = 1 })
	r.exec(`INSERT INTO activities (activity_id, user_id, date, total_load_miles) SELECT i, i, '2025-01-01', 5 FROM generate_series(1, 3) AS i`)
	r.exec(`ALTER TABLE activities ADD CONSTRAINT injected CHECK (user_id <> 2 OR acute_chronic_ratio IS NULL)`)
	enqueuer, err := jobs.NewEnqueuer(r.pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := dbtest.Open(t, databaseURL).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), `LOCK TABLE activities IN SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	var id int64
	err = r.pool.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = backfill.Create(ctx, tx, enqueuer, backfill.Scope{}, false)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r.keepTakingSnapshots()
	r.run()
	r.waitForReason("", noticed)
	const done, total, failed = `tmworker_backfill_rows{backfill="1",part="done"}`, `tmworker_backfill_rows{backfill="1",part="total"}`, `tmworker_backfill_failed_chunks{backfill="1"}`
	r.value(total, soon, is(3))
	for until := time.Now().Add(time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		r.value(done, soon, is(0))
	}

	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.value(failed, soon, is(1))
	r.value(`tmworker_jobs_worked_total{kind="acwr_backfill"`, soon, above(3))
	r.gone(done, soon) // the other chunks are done; the failed one is still reported
	r.value(failed, soon, is(1))

	r.exec(`ALTER TABLE activities DROP CONSTRAINT injected`)
	err = r.pool.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		return backfill.Resume(ctx, tx, enqueuer, dbtest.RiverSchema, id)
	})
	if err != nil {
		t.Fatal(err)
	}
	r.value(failed, soon, is(0))
	r.gone(done, soon)
}

// gone waits until the series is gone.
func (r *rig) gone(series string, within time.Duration) {
	r.Helper()
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		v, found := r.metric(series)
		if !found {
			return
		}
		if time.Since(began) > within {
			r.Fatalf("%s is still %s after %v", series, v, within)
		}
	}
}

// TestTokensExpired causes TokensExpired: tokens expire and no worker refreshes them.
// New tokens end it.
func TestTokensExpired(t *testing.T) {
	t.Parallel()
	r := newRig(t, dbtest.MigratedURL(t))
	r.keepTakingSnapshots()
	const save = `SELECT count(*) FROM (SELECT river.save_user_token(i, 'a', 'r', extract(epoch FROM now())::bigint + $1) FROM generate_series(1, 25) AS i) AS saved`
	r.exec(save, 1)
	r.value(`tmworker_tokens{state="expired"}`, soon, above(20))
	r.exec(save, 21600)
	r.value(`tmworker_tokens{state="expired"}`, soon, is(0))
	r.value(`tmworker_tokens{state="valid"}`, soon, is(25))
}
