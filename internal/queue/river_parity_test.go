package queue_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// outcomes are the errors that end the jobs of either queue, by the jobs' value.
var outcomes = []error{
	nil,
	errors.New("broken"),
	errors.New("broken by a \x00"),
	river.JobCancel(errors.New("hopeless")),
}

type parityArgs struct {
	Value int `json:"value"`
}

func (parityArgs) Kind() string { return "parity" }

// parityWorker ends jobs as River does.
type parityWorker struct {
	river.WorkerDefaults[parityArgs]
}

func (*parityWorker) Work(_ context.Context, job *river.Job[parityArgs]) error {
	if err := outcomes[job.Args.Value]; err != nil && queue.WithoutNUL(err.Error()) != err.Error() {
		return errors.New(queue.WithoutNUL(err.Error())) // River's completer would retry forever
	}
	return outcomes[job.Args.Value]
}

// firstOutcomes keeps each job as it was after its first attempt, because a short retry
// delay ends while the test runs.
const firstOutcomes = `
CREATE TABLE outcomes (LIKE river.river_job);
CREATE FUNCTION keep_outcome() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO outcomes SELECT NEW.* WHERE NOT EXISTS (SELECT FROM outcomes WHERE id = NEW.id);
	RETURN NULL;
END $$;
CREATE TRIGGER keep_outcome AFTER UPDATE ON river.river_job
FOR EACH ROW WHEN (NEW.attempted_at IS NOT NULL AND NEW.state <> 'running' AND NEW.attempt > 0) EXECUTE FUNCTION keep_outcome()`

// parityJobs inserts one job for each outcome and initial state.
const parityJobs = `
INSERT INTO river.river_job (kind, queue, args, attempt, attempted_by, errors, max_attempts, metadata)
SELECT 'parity', $1, jsonb_build_object('value', value), attempt, ARRAY(SELECT 'before' FROM generate_series(1, attempt * 50)),
       ARRAY(SELECT jsonb_build_object('at', now(), 'attempt', i, 'error', 'former', 'trace', '') FROM generate_series(1, attempt) AS i), max_attempts, metadata
FROM generate_series(0, $2 - 1) AS value,
     (VALUES (0, 25), (2, 25), (24, 25), (0, 1)) AS attempts (attempt, max_attempts),
     (VALUES (jsonb '{}'), ('{"snoozes": 2, "other": true}'), ('{"cancel_attempted_at": "2025-01-01T00:00:00Z"}')) AS m (metadata)
ORDER BY value, attempt, max_attempts, metadata`

// TestOutcomesAreRivers ends the same jobs in the same ways, once worked by River and
// once claimed and finished by this package.
func TestOutcomesAreRivers(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	exec(t, pool, firstOutcomes, pgx.QueryExecModeSimpleProtocol)
	exec(t, pool, parityJobs, "river", len(outcomes))
	exec(t, pool, parityJobs, "lane", len(outcomes))
	jobs := count(t, pool, `SELECT count(*) FROM river.river_job`)

	registered := river.NewWorkers()
	river.AddWorker(registered, &parityWorker{})
	client, err := river.NewClient(riverpgxv5.New(pool.Pool), &river.Config{
		ID: "worker", Schema: dbtest.RiverSchema, Workers: registered, SoftStopTimeout: 5 * time.Second,
		Queues: map[string]river.QueueConfig{"river": {MaxWorkers: 100}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	finish(t, pool, "lane")
	for deadline := time.Now().Add(10 * time.Second); count(t, pool, `SELECT count(*) FROM outcomes`) < jobs && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if err := client.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	want, got := keptOutcomes(t, pool, "river"), keptOutcomes(t, pool, "lane")
	if len(want) != jobs/2 {
		t.Fatalf("River finished %d jobs of %d", len(want), jobs/2)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-River's +ours):\n%s", diff)
	}
}

// stuckJobs inserts a running job, begun two minutes ago, for each initial state.
const stuckJobs = `
INSERT INTO river.river_job (kind, queue, args, state, attempt, attempted_at, attempted_by, errors, max_attempts, metadata)
SELECT 'parity', $1, '{"value": 0}', 'running', attempt, now() - interval '2 minutes', '{worker}',
       ARRAY(SELECT jsonb_build_object('at', now(), 'attempt', i, 'error', 'former', 'trace', '') FROM generate_series(1, attempt - 1) AS i), max_attempts, metadata
FROM (VALUES (1, 25), (3, 25), (24, 25), (25, 25), (1, 1)) AS attempts (attempt, max_attempts),
     (VALUES (jsonb '{}'), ('{"other": true, "river:rescue_count": 2}'), ('{"cancel_attempted_at": "2025-01-01T00:00:00Z", "river:rescue_count": "?"}')) AS m (metadata)
ORDER BY attempt, max_attempts, metadata`

// TestRescuesAreRivers ends the same attempts of dead processes, once by this package and
// once by River's rescuer.
func TestRescuesAreRivers(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	exec(t, pool, firstOutcomes, pgx.QueryExecModeSimpleProtocol)
	exec(t, pool, stuckJobs, "ours")
	exec(t, pool, `UPDATE river.river_job SET attempted_at = now() - interval '1 second' WHERE id = (SELECT min(id) FROM river.river_job)`)
	jobs := count(t, pool, `SELECT count(*) FROM river.river_job`)
	exec(t, pool, `INSERT INTO worker_processes (client_id) VALUES ('alive'), ('dead')`)
	exec(t, pool, `UPDATE worker_processes SET beat_at = now() - interval '1 minute' WHERE client_id = 'dead'`)
	exec(t, pool, `
		INSERT INTO river.river_job (kind, queue, args, state, attempt, attempted_at, attempted_by, max_attempts)
		SELECT 'parity', 'processes', '{}', 'running', 1, now() - minutes * interval '1 minute', ARRAY['before', client], 25
		FROM (VALUES ('alive', 2), ('alive', 11), ('dead', 2)) AS job (client, minutes)`)
	b := &pgx.Batch{}
	queue.Schema(dbtest.RiverSchema).Rescue(b, time.Minute)
	if err := pool.SendBatch(t.Context(), b).Close(); err != nil {
		t.Fatal(err)
	}
	if running := count(t, pool, `SELECT count(*) FROM river.river_job WHERE state = 'running'`); running != 2 {
		t.Errorf("%d jobs are running, want the one that began a second ago, and a living process's that began two minutes ago", running)
	}
	if rescued := count(t, pool, `SELECT count(*) FROM river.river_job WHERE queue = 'processes' AND state <> 'running'`); rescued != 2 {
		t.Errorf("%d jobs of other processes were rescued, want the dead one's, and one of eleven minutes", rescued)
	}
	exec(t, pool, `DELETE FROM outcomes WHERE queue = 'processes'`)
	exec(t, pool, `TRUNCATE river.river_job`)

	exec(t, pool, stuckJobs, "river")
	exec(t, pool, `DELETE FROM river.river_job WHERE id = (SELECT min(id) FROM river.river_job)`)
	registered := river.NewWorkers()
	river.AddWorker(registered, &parityWorker{})
	client, err := river.NewClient(riverpgxv5.New(pool.Pool), &river.Config{
		ID: "worker", Schema: dbtest.RiverSchema, Workers: registered, Queues: map[string]river.QueueConfig{"another": {MaxWorkers: 1}},
		JobTimeout: 30 * time.Second, RescueStuckJobsAfter: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); count(t, pool, `SELECT count(*) FROM outcomes`) < 2*(jobs-1) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if err := client.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	want, got := keptOutcomes(t, pool, "river"), keptOutcomes(t, pool, "ours")
	if len(want) != jobs-1 {
		t.Fatalf("River rescued %d jobs of %d", len(want), jobs-1)
	}
	for i := range got {
		got[i] = strings.ReplaceAll(got[i], "the worker stopped before the job was done", "Stuck job rescued by JobRescuer")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rescues (-River's +ours):\n%s", diff)
	}
}

// finish claims the jobs of a queue and finishes them all in one transaction.
func finish(t *testing.T, pool *dbpool.Pool, name string) {
	t.Helper()
	schema, attempt := queue.Schema(dbtest.RiverSchema), queue.Attempt{Client: "worker", Keep: true}
	err := pool.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		var claimed []queue.Job
		b := &pgx.Batch{}
		schema.Claim(b, "c", name, queue.Share{}, queue.Position{}, 1000, &claimed)
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		var completed []int64
		var failures []queue.Failure
		for _, job := range claimed {
			var cancel *river.JobCancelError
			err := outcomes[int(job.Args[len(`{"value": `)]-'0')]
			switch {
			case err == nil:
				completed = append(completed, job.ID)
			case errors.As(err, &cancel):
				failures = append(failures, queue.Failure{Job: job, Err: err, Cancel: true})
			default:
				failures = append(failures, queue.Failure{Job: job, Err: err})
			}
		}
		b = &pgx.Batch{}
		schema.Complete(b, attempt, completed)
		if err := schema.Fail(b, attempt, failures); err != nil {
			return err
		}
		return tx.SendBatch(ctx, b).Close()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// keptOutcomes returns a queue's rows in the order of insertion. Times become distances
// of one significant digit, because River's delays have a jitter.
func keptOutcomes(t *testing.T, pool *dbpool.Pool, name string) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
		SELECT concat_ws(' ', args, state, attempt, max_attempts, metadata, priority, array_length(attempted_by, 1), attempted_by[array_upper(attempted_by, 1)],
			'wait 16^' || round(log(16, greatest(extract(epoch FROM scheduled_at - attempted_at), 0.5)::numeric)),
			'finalized ' || (finalized_at - attempted_at < interval '1 minute')::text,
			(SELECT string_agg((e - 'at')::text || (e->>'at')::date, ' ' ORDER BY n) FROM unnest(errors) WITH ORDINALITY AS u (e, n)))
		FROM outcomes WHERE queue = $1 ORDER BY id`, name)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

func exec(t *testing.T, pool *dbpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func count(t *testing.T, pool *dbpool.Pool, sql string) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), sql).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}
