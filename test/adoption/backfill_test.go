package adoption

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
	"github.com/trainingmonkey/worker/workers"
)

// loadsQuery prints loads as text, which is how the application gets them.
const loadsQuery = `
SELECT string_agg(concat_ws(' ', user_id, date, activity_id, coalesce(total_load_miles, 0), coalesce(trimp, 0)), E'\n' ORDER BY activity_id) FROM activities`

// wrongRowsQuery counts the rows without their day's values.
const wrongRowsQuery = `
SELECT count(*) FILTER (WHERE (seven_day_avg_load, twentyeight_day_avg_load, seven_day_avg_trimp, twentyeight_day_avg_trimp,
	acute_chronic_ratio, trimp_acute_chronic_ratio, normalized_divergence) IS DISTINCT FROM
	(v[1]::real, v[2]::real, v[3]::real, v[4]::real, v[5]::real, v[6]::real, v[7]::real)) || ' of ' || count(*)
FROM activities AS a
LEFT JOIN (SELECT split_part(line, ' ', 1)::int AS user_id, split_part(line, ' ', 2)::date AS date, (string_to_array(line, ' '))[3:9] AS v
	FROM unnest(string_to_array($1, E'\n')) AS line) AS right_values USING (user_id, date)`

// wrongRows compares every row with Python's results.
func wrongRows(t *testing.T, pool *dbpool.Pool) string {
	t.Helper()
	python := exec.CommandContext(t.Context(), "python3", "testdata/standard.py")
	python.Stdin = strings.NewReader(text(t, pool, loadsQuery))
	var stderr bytes.Buffer
	python.Stderr = &stderr
	out, err := python.Output()
	if err != nil {
		t.Fatalf("python3: %v\n%s", err, stderr.String())
	}
	return text(t, pool, wrongRowsQuery, strings.TrimSpace(string(out)))
}

// besideApplication returns docs/cutover.md's settings for a worker beside the
// application: its rounding, and chunks that lock their rows briefly.
func besideApplication() config.Config {
	c := config.Default()
	c.ACWR.Rounding = "app"
	c.Backfill.ChunkRows = 500
	return c
}

// TestBackfillBesideTheApplication: a backfill of 4,000 rows, with rest days and days
// of several activities, gives the values of the application's rules, while the
// application keeps writing and never waits longer than maxWait.
func TestBackfillBesideTheApplication(t *testing.T) {
	pool := openApplication(t, variants[0])
	if _, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	if err := migrations.CaptureChanges(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	s, err := workers.New(t.Context(), pool, besideApplication(), discard, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	written, errs := make([]int, 2), make([]error, 3)
	for i := range written {
		application := pool.Config().ConnConfig.Copy()
		application.RuntimeParams["lock_timeout"] = maxWait
		wg.Go(func() { written[i], errs[i] = write(ctx, application, i+1) })
	}
	wg.Go(func() { errs[2] = s.Run(ctx) })
	for range 3 {
		runBackfill(t, pool, enqueuer)
		for user := 1; user <= 50; user++ { // one by one, because a single statement would itself make the application wait
			execute(t, pool, fmt.Sprintf(`UPDATE activities SET acute_chronic_ratio = 77, seven_day_avg_trimp = NULL WHERE user_id = %d`, user))
		}
	}
	runBackfill(t, pool, enqueuer)
	stop()
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	drainBesideApplication(t, pool)
	total := text(t, pool, `SELECT count(*)::text FROM activities`)
	if got, want := wrongRows(t, pool), "0 of "+total; got != want {
		t.Errorf("%s rows are not what the application's rules give, want %s", got, want)
	}
	if written[0]+written[1] < 20 {
		t.Errorf("the application got through only %v statements", written)
	}
}

func drainBesideApplication(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	drain, err := workers.New(t.Context(), pool, besideApplication(), discard, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := drain.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func createBackfill(t *testing.T, pool *dbpool.Pool, enqueuer *jobs.Enqueuer) (id int64) {
	t.Helper()
	err := pool.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) (err error) {
		id, err = backfill.Create(ctx, tx, enqueuer, backfill.Scope{}, true)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func runBackfill(t *testing.T, pool *dbpool.Pool, enqueuer *jobs.Enqueuer) {
	t.Helper()
	id := createBackfill(t, pool, enqueuer)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		b, err := backfill.Get(t.Context(), pool, dbtest.RiverSchema, id)
		if err == nil && b.FailedChunks > 0 {
			err = fmt.Errorf("%d chunks failed", b.FailedChunks)
		}
		if err != nil {
			t.Fatal(err)
		}
		if b.State == backfill.Finished {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the backfill does not end: %+v", b)
		}
	}
}
