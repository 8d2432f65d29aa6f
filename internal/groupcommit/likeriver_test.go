package groupcommit

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/dbtest"
)

// outcomes are the errors that jobs of either queue end with, by their value.
var outcomes = []error{
	errors.New("broken"),
	river.JobCancel(errors.New("hopeless")),
	river.JobSnooze(time.Second),
	river.JobSnooze(time.Hour),
}

// twoWaysWorker fails jobs of one queue by itself, those of the other through an
// engine.
type twoWaysWorker struct {
	river.WorkerDefaults[effectArgs]
	engine *Engine[effectArgs]
}

func (w *twoWaysWorker) Work(ctx context.Context, job *river.Job[effectArgs]) error {
	if job.Queue == "engine" {
		return w.engine.Work(ctx, job)
	}
	return outcomes[job.Args.Value]
}

// firstFates keeps each job as it stood when its first attempt here was over,
// for a short wait ends while the test looks on.
const firstFates = `
CREATE TABLE fates (LIKE river.river_job);
CREATE FUNCTION keep_fate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO fates SELECT NEW.* WHERE NOT EXISTS (SELECT FROM fates WHERE id = NEW.id);
	RETURN NULL;
END $$;
CREATE TRIGGER keep_fate AFTER UPDATE ON river.river_job
FOR EACH ROW WHEN (OLD.state = 'running' AND NEW.state <> 'running') EXECUTE FUNCTION keep_fate()`

// likeRiverJobs inserts one job for each outcome and state of affairs.
const likeRiverJobs = `
INSERT INTO river.river_job (kind, queue, args, attempt, errors, max_attempts, metadata)
SELECT 'effect', $1, jsonb_build_object('value', value), attempt,
       ARRAY(SELECT jsonb_build_object('at', now(), 'attempt', i, 'error', 'former', 'trace', '') FROM generate_series(1, attempt) AS i), max_attempts, metadata
FROM generate_series(0, $2 - 1) AS value,
     (VALUES (0, 25), (2, 25), (24, 25), (0, 1)) AS attempts (attempt, max_attempts),
     (VALUES (jsonb '{}'), ('{"snoozes": 2, "other": true}'), ('{"cancel_attempted_at": "2025-01-01T00:00:00Z"}')) AS m (metadata)
ORDER BY value, attempt, max_attempts, metadata`

// TestFatesAreRivers has the same jobs end in the same ways, once told to River
// and once settled by the engine.
func TestFatesAreRivers(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	exec(t, pool, firstFates)
	options := testOptions()
	options.MaxBatch = 1
	w := &twoWaysWorker{engine: New(pool, options, effectKind(func(_ context.Context, _ pgx.Tx, jobs []*river.Job[effectArgs]) error {
		return outcomes[jobs[0].Args.Value]
	}))}
	exec(t, pool, likeRiverJobs, "river", len(outcomes))
	exec(t, pool, likeRiverJobs, "engine", len(outcomes))
	jobs := count(t, pool, `SELECT count(*) FROM river.river_job`)

	registered := river.NewWorkers()
	river.AddWorker(registered, w)
	client, err := river.NewClient(riverpgxv5.New(pool.Pool), &river.Config{
		Schema: dbtest.RiverSchema, Workers: registered, SoftStopTimeout: 5 * time.Second,
		Queues: map[string]river.QueueConfig{"river": {MaxWorkers: 100}, "engine": {MaxWorkers: 100}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); count(t, pool, `SELECT count(*) FROM fates`) < jobs && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if err := client.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	want, got := keptFates(t, pool, "river"), keptFates(t, pool, "engine")
	if len(want) != jobs/2 {
		t.Fatalf("River settled %d jobs of %d", len(want), jobs/2)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fates (-River's +the engine's):\n%s", diff)
	}
}

// keptFates are the rows of a queue in the order of their insertion. Of times it
// keeps how far away they are: one digit, for River's delays have a jitter.
func keptFates(t *testing.T, pool *dbpool.Pool, queue string) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
		SELECT concat_ws(' ', args, state, attempt, max_attempts, metadata, priority,
			'wait 16^' || round(log(16, greatest(extract(epoch FROM scheduled_at - attempted_at), 0.5)::numeric)),
			'finalized ' || (finalized_at - attempted_at < interval '1 minute')::text,
			(SELECT string_agg((e - 'at')::text || (e->>'at')::date, ' ' ORDER BY n) FROM unnest(errors) WITH ORDINALITY AS u (e, n)))
		FROM fates WHERE queue = $1 ORDER BY id`, queue)
	if err != nil {
		t.Fatal(err)
	}
	fates, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return fates
}
