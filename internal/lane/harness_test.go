package lane

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// effectArgs are the arguments of jobs that write one row.
type effectArgs struct {
	Value int `json:"value"`
}

const (
	refusedValue  = 666 // by a constraint
	panickedValue = 667
	triggerValue  = 668 // by a trigger, with an error code of its own
)

const effectsTables = `
CREATE TABLE effects (job_id bigint PRIMARY KEY, value int CONSTRAINT not_refused CHECK (value <> 666));
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE 'not this one' USING ERRCODE = 'TM001';
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON effects FOR EACH ROW WHEN (NEW.value = 668) EXECUTE FUNCTION refuse()`

const insertEffects = `INSERT INTO effects (job_id, value) SELECT * FROM unnest($1::bigint[], $2::int[])`

func effectsDatabase(t *testing.T) *dbpool.Pool {
	t.Helper()
	pool := dbtest.Migrated(t)
	exec(t, pool, effectsTables)
	return pool
}

// effectKind writes one row for each job, all in one statement.
func effectKind() Kind[effectArgs] {
	return Kind[effectArgs]{
		Name: "effect",
		Decode: func(data []byte) (args effectArgs, err error) {
			err = json.Unmarshal(data, &args)
			return args, err
		},
		Apply: func(ctx context.Context, tx pgx.Tx, first *pgx.Batch, batch []*Job[effectArgs]) (Writes, error) {
			if err := tx.SendBatch(ctx, first).Close(); err != nil {
				return Writes{}, err
			}
			var ids []int64
			var values []int32
			for _, job := range batch {
				if job.Args.Value == panickedValue {
					panic("injected")
				}
				ids, values = append(ids, job.ID), append(values, int32(job.Args.Value))
			}
			b := &pgx.Batch{}
			b.Queue(insertEffects, ids, values)
			return Writes{Batch: b}, nil
		},
		Probe: func(b *pgx.Batch) { b.Queue(insertEffects, nil, nil) },
	}
}

// watcher remembers what a lane reported.
type watcher struct {
	mu           sync.Mutex
	transactions []Transaction
}

func (w *watcher) Transacted(t Transaction) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.transactions = append(w.transactions, t)
}

func (*watcher) Committed(time.Duration) {}

func testOptions(t *testing.T) Options {
	t.Helper()
	return Options{
		Schema: dbtest.RiverSchema, Queue: "effects", Client: "test", Priority: 1, Loops: 2, MaxJobs: 500, MaxWeight: 5000,
		Timeout: 8 * time.Second, Aim: 100 * time.Millisecond, Poll: 100 * time.Millisecond, Newest: true, Keep: true,
		Caution: &Caution{}, Observer: &watcher{}, Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	}
}

// insert inserts jobs whose values nothing refuses.
func insert(t *testing.T, pool *dbpool.Pool, n int) {
	t.Helper()
	exec(t, pool, `INSERT INTO river.river_job (kind, queue, args, max_attempts) SELECT 'effect', 'effects', jsonb_build_object('value', i % 600), 25 FROM generate_series(1, $1::int) AS i`, n)
}

// turns runs turns until one finds nothing.
func turns[T any](t *testing.T, l *Lane[T]) {
	t.Helper()
	for i := 0; ; i++ {
		found, err := l.Turn(t.Context())
		if err != nil {
			t.Fatalf("turn %d: %v", i, err)
		}
		if found == 0 {
			return
		}
		if i > 300 {
			t.Fatal("still jobs after 300 turns")
		}
	}
}

func exec(t *testing.T, pool *dbpool.Pool, sql string, args ...any) {
	t.Helper()
	if len(args) == 0 {
		args = []any{pgx.QueryExecModeSimpleProtocol}
	}
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func ask[T any](t *testing.T, pool *dbpool.Pool, sql string, args ...any) (v T) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// jobStates counts the jobs by state, attempt and errors.
const jobStates = `
SELECT coalesce(string_agg(concat_ws(' ', n, state, 'attempt', attempt, 'errors', errors), ', ' ORDER BY state, attempt), 'none')
FROM (SELECT count(*) AS n, state, attempt, coalesce(array_length(errors, 1), 0) AS errors FROM river.river_job GROUP BY 2, 3, 4) AS counted`
