package lane

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// TestOneTransaction: effects and completion of all jobs are one commit, with the same
// number of round trips for any number of jobs.
func TestOneTransaction(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	for _, n := range []int{1, 100} {
		exec(t, pool, `TRUNCATE effects, river.river_job`)
		insert(t, pool, n)
		o := testOptions(t)
		seen := o.Observer.(*watcher)
		turns(t, New(pool, o, effectKind()))
		if len(seen.transactions) != 1 || seen.transactions[0].Jobs != n || seen.transactions[0].RoundTrips != 5 || seen.transactions[0].Savepoints != 1 {
			t.Errorf("%d jobs: transactions %+v, want one of five round trips and a savepoint", n, seen.transactions)
		}
		if got, want := ask[string](t, pool, jobStates), fmt.Sprintf("%d completed attempt 1 errors 0", n); got != want {
			t.Errorf("jobs: %s, want %s", got, want)
		}
		const inOneCommit = `SELECT count(DISTINCT xmin::text) = 1 AND count(*) = $1 FROM river.river_job
			WHERE attempted_by = '{test}' AND attempted_at IS NOT NULL AND finalized_at IS NOT NULL`
		if !ask[bool](t, pool, inOneCommit, n) || ask[int](t, pool, `SELECT count(*) FROM effects`) != n {
			t.Error("not all jobs completed in one transaction with what River would have set, or effects are missing")
		}
	}
}

// TestRefusedJobs isolates jobs that panic, and jobs that the database refuses for
// every kind of reason.
func TestRefusedJobs(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]int{"constraint": refusedValue, "trigger": triggerValue, "panic": panickedValue} {
		for _, refused := range []int{1, 10, 100} {
			t.Run(fmt.Sprintf("%s %d", name, refused), func(t *testing.T) {
				t.Parallel()
				pool := effectsDatabase(t)
				insert(t, pool, 500)
				exec(t, pool, `UPDATE river.river_job SET args = jsonb_build_object('value', $1::int) WHERE id IN (SELECT id FROM river.river_job ORDER BY hashint8(id) LIMIT $2)`, value, refused)
				// If a second try came within this test, it would be counted.
				exec(t, pool, `CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.scheduled_at := now() + interval '1 hour'; RETURN NEW; END $$;
					CREATE TRIGGER later BEFORE UPDATE ON river.river_job FOR EACH ROW WHEN (NEW.errors IS NOT NULL) EXECUTE FUNCTION later()`)
				o := testOptions(t)
				seen := o.Observer.(*watcher)
				turns(t, New(pool, o, effectKind()))
				want := fmt.Sprintf("%d available attempt 1 errors 1, %d completed attempt 1 errors 0", refused, 500-refused)
				if got := ask[string](t, pool, jobStates); got != want {
					t.Errorf("jobs: %s, want %s", got, want)
				}
				maxSavepoints, sum := 0, 0
				for _, tx := range seen.transactions {
					maxSavepoints, sum = max(maxSavepoints, tx.Savepoints), sum+tx.Savepoints
				}
				t.Logf("%d transactions, %d savepoints, at most %d in one", len(seen.transactions), sum, maxSavepoints)
				if maxSavepoints >= 64 || (refused == 1 && maxSavepoints > 2*9+1) {
					t.Errorf("%d savepoints in a transaction", maxSavepoints)
				}
			})
		}
	}
}

// TestErrorsAreTheCauseOnly: errors do not mention what failed in their consequence, for
// example that the savepoint is gone.
func TestErrorsAreTheCauseOnly(t *testing.T) {
	t.Parallel()
	const refused = `ERROR: not this one (SQLSTATE TM001)`
	pool := effectsDatabase(t)
	insert(t, pool, 2)
	exec(t, pool, `UPDATE river.river_job SET args = '{"value": 668}' WHERE id = (SELECT min(id) FROM river.river_job)`)
	turns(t, New(pool, testOptions(t), effectKind()))
	if got := ask[string](t, pool, `SELECT errors[1]->>'error' FROM river.river_job WHERE errors IS NOT NULL`); got != refused {
		t.Errorf("job's error: %q, want %q", got, refused)
	}

	refuse := func(b *pgx.Batch) { b.Queue(insertEffects, []int64{-1}, []int32{triggerValue}) }
	locking, missing, after := effectKind(), effectKind(), effectKind()
	locking.Lock = func(b *pgx.Batch, _ []*Job[effectArgs]) { refuse(b) }
	missing.Apply = func(ctx context.Context, tx pgx.Tx, first *pgx.Batch, _ []*Job[effectArgs]) (Writes, error) {
		first.Queue(`SELECT missing FROM effects`)
		return Writes{}, tx.SendBatch(ctx, first).Close()
	}
	apply := after.Apply
	after.Apply = func(ctx context.Context, tx pgx.Tx, first *pgx.Batch, batch []*Job[effectArgs]) (Writes, error) {
		w, err := apply(ctx, tx, first, batch)
		w.After = func(ctx context.Context, tx pgx.Tx) error {
			b := &pgx.Batch{}
			refuse(b)
			return tx.SendBatch(ctx, b).Close()
		}
		return w, err
	}
	for name, c := range map[string]struct {
		kind Kind[effectArgs]
		want string
	}{
		"locks":                {locking, refused},
		"preparing":            {missing, `error preprocessing batch (prepare): ERROR: column "missing" does not exist (SQLSTATE 42703)`},
		"after the completion": {after, refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := effectsDatabase(t)
			insert(t, pool, 2)
			if _, err := New(pool, testOptions(t), c.kind).Turn(t.Context()); err == nil || err.Error() != c.want {
				t.Errorf("Turn = %v, want %s", err, c.want)
			}
			if got, want := ask[string](t, pool, jobStates), "2 available attempt 0 errors 0"; got != want {
				t.Errorf("jobs: %s, want %s", got, want)
			}
		})
	}
}

// TestJobThatFailedBefore: it is tried separately, so that the others need no second try.
func TestJobThatFailedBefore(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 50)
	exec(t, pool, `UPDATE river.river_job SET attempt = 5, args = '{"value": 666}' WHERE args->>'value' = '25'`)
	o := testOptions(t)
	seen := o.Observer.(*watcher)
	turns(t, New(pool, o, effectKind()))
	if got := ask[string](t, pool, jobStates); got != "1 available attempt 6 errors 1, 49 completed attempt 1 errors 0" {
		t.Errorf("jobs: %s, want the other 49 completed", got)
	}
	if tx := seen.transactions[0]; tx.Savepoints != 2 {
		t.Errorf("%d savepoints, want one for the fresh jobs and one for the job that failed before", tx.Savepoints)
	}
}

// TestFaultOfTheLane: it costs no job an attempt, and ends when its cause does.
func TestFaultOfTheLane(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string][2]string{
		"column":    {`ALTER TABLE effects RENAME value TO other`, `ALTER TABLE effects RENAME other TO value`},
		"table":     {`ALTER TABLE effects RENAME TO other`, `ALTER TABLE other RENAME TO effects`},
		"river_job": {`ALTER TABLE river.river_job RENAME attempted_by TO other`, `ALTER TABLE river.river_job RENAME other TO attempted_by`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := effectsDatabase(t)
			insert(t, pool, 30)
			exec(t, pool, fault[0])
			l := New(pool, testOptions(t), effectKind())
			for range 3 {
				_, err := l.Turn(t.Context())
				if err == nil {
					t.Fatal("the turn succeeded")
				}
				l.afterError(t.Context(), err, 1)
			}
			if l.Status().Fault == nil {
				t.Error("the lane's status has no fault")
			}
			exec(t, pool, fault[1])
			if got, want := ask[string](t, pool, jobStates), "30 available attempt 0 errors 0"; got != want {
				t.Errorf("jobs: %s, want %s", got, want)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { l.Run(ctx) })
			until(t, func() bool {
				return ask[string](t, pool, jobStates) == "30 completed attempt 1 errors 0" && l.Status().Fault == nil
			})
			cancel()
			wg.Wait()
		})
	}
}

func until(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("condition not met within 20 s")
		}
	}
}

// TestOrderAndStates: jobs are worked by priority, time and id; those that are paused,
// cancelled, scheduled for later or of another kind are not.
func TestOrderAndStates(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	exec(t, pool, `INSERT INTO river.river_job (kind, queue, args, max_attempts, priority, scheduled_at, state, finalized_at) VALUES
		('effect', 'effects', '{"value": 5}', 25, 2, now() - interval '1 hour', 'available', NULL),
		('effect', 'effects', '{"value": 3}', 25, 1, now() - interval '1 minute', 'available', NULL),
		('effect', 'effects', '{"value": 1}', 25, 1, now() - interval '2 minutes', 'available', NULL),
		('effect', 'effects', '{"value": 2}', 25, 1, now() - interval '2 minutes', 'available', NULL),
		('effect', 'effects', '{"value": 9}', 25, 1, now() + interval '1 hour', 'available', NULL),
		('effect', 'effects', '{"value": 9}', 25, 1, now() + interval '1 hour', 'scheduled', NULL),
		('effect', 'effects', '{"value": 9}', 25, 1, now(), 'cancelled', now()),
		('effect', 'others', '{"value": 9}', 25, 1, now(), 'available', NULL),
		('foreign', 'effects', '{"value": 9}', 1, 3, now(), 'available', NULL),
		('effect', 'effects', '"no"', 25, 4, now(), 'available', NULL)`)
	exec(t, pool, `INSERT INTO river.river_queue (name, paused_at, updated_at) VALUES ('effects', now(), now())`)
	o := testOptions(t)
	o.MaxJobs, o.Newest = 1, false
	if found, err := New(pool, o, effectKind()).Turn(t.Context()); found != 0 || err != nil {
		t.Errorf("Turn of a paused queue = %d, %v", found, err)
	}
	exec(t, pool, `UPDATE river.river_queue SET paused_at = NULL`)
	l := New(pool, o, effectKind()) // a new lane's first claim starts from the beginning, however slow the other's was
	turns(t, l)
	got := ask[string](t, pool, `SELECT string_agg(e.value::text, ' ' ORDER BY j.finalized_at) FROM effects AS e JOIN river.river_job AS j ON j.id = e.job_id`)
	if want := "1 2 3 5"; got != want {
		t.Errorf("worked in the order %s, want %s", got, want)
	}
	if got, want := ask[string](t, pool, `SELECT concat_ws(', ', state, errors[1]->>'error') FROM river.river_job WHERE kind = 'foreign'`), "discarded, queue effects takes jobs of kind effect, not foreign"; got != want {
		t.Errorf("job of another kind: %s, want %s", got, want)
	}
	if got := ask[string](t, pool, `SELECT concat_ws(', ', state, errors[1]->>'error') FROM river.river_job WHERE args = '"no"'`); !strings.HasPrefix(got, "cancelled, json: cannot unmarshal") {
		t.Errorf("job whose arguments do not decode: %s", got)
	}
}

// TestDeletedAtOnce: if nothing is kept, finished jobs are deleted in their commit, and
// failed ones stay.
func TestDeletedAtOnce(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 20)
	exec(t, pool, `UPDATE river.river_job SET attempt = 24, args = '{"value": 666}' WHERE args->>'value' = '7'`)
	o := testOptions(t)
	o.Keep = false
	turns(t, New(pool, o, effectKind()))
	if got, want := ask[string](t, pool, jobStates), "1 discarded attempt 25 errors 1"; got != want {
		t.Errorf("jobs: %s, want %s", got, want)
	}
	if got := ask[int](t, pool, `SELECT count(*) FROM effects`); got != 19 {
		t.Errorf("%d effects, want 19", got)
	}
}

// TestManyLanesShareAQueue: several lanes, each with several loops, work every job exactly
// once.
func TestManyLanesShareAQueue(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 5000)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { New(pool, testOptions(t), effectKind()).Run(ctx) })
	}
	until(t, func() bool { return ask[int](t, pool, `SELECT count(*) FROM effects`) == 5000 })
	cancel()
	wg.Wait()
	if got, want := ask[string](t, pool, jobStates), "5000 completed attempt 1 errors 0"; got != want {
		t.Errorf("jobs: %s, want %s", got, want)
	}
}

// TestLockedRow: a job whose row is locked for long waits separately while the others
// are worked. No job spends an attempt on it.
func TestLockedRow(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	exec(t, pool, `CREATE TABLE held (value int PRIMARY KEY); INSERT INTO held SELECT generate_series(0, 599)`)
	insert(t, pool, 400)
	kind := effectKind()
	kind.Lock = func(b *pgx.Batch, batch []*Job[effectArgs]) {
		var values []int32
		for _, job := range batch {
			values = append(values, int32(job.Args.Value))
		}
		b.Queue(`SET LOCAL lock_timeout = '50ms'`)
		b.Queue(`SELECT count(*) FROM (SELECT FROM held WHERE value = ANY($1::int[]) ORDER BY value FOR UPDATE) AS locked`, values)
	}
	holder, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback(t.Context()) }()
	if _, err := holder.Exec(t.Context(), `SELECT FROM held WHERE value = 123 FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { New(pool, testOptions(t), kind).Run(ctx) })
	until(t, func() bool {
		return ask[string](t, pool, jobStates) == "1 available attempt 0 errors 0, 399 completed attempt 1 errors 0"
	})
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return ask[string](t, pool, jobStates) == "400 completed attempt 1 errors 0" })
	cancel()
	wg.Wait()
}

// raceApply reports a race if a job's row is missing, as after a trigger dropped it.
func raceApply(kind Kind[effectArgs]) Kind[effectArgs] {
	apply := kind.Apply
	kind.Apply = func(ctx context.Context, tx pgx.Tx, first *pgx.Batch, batch []*Job[effectArgs]) (Writes, error) {
		w, err := apply(ctx, tx, first, batch)
		if err != nil {
			return w, err
		}
		w.Batch.Queue(`SELECT count(*) FROM effects WHERE job_id = ANY($1)`, ids(batch)).QueryRow(func(row pgx.Row) error {
			var n int
			if err := row.Scan(&n); err != nil || n == len(batch) {
				return err
			}
			return dbpool.ErrRaced
		})
		return w, nil
	}
	return kind
}

func ids(batch []*Job[effectArgs]) (ids []int64) {
	for _, job := range batch {
		ids = append(ids, job.ID)
	}
	return ids
}

// TestDroppedRow: an error that resembles a race and never ends fails its job within a
// bounded number of turns.
func TestDroppedRow(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	exec(t, pool, `CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
		CREATE TRIGGER drop_it BEFORE INSERT ON effects FOR EACH ROW WHEN (NEW.value = 77) EXECUTE FUNCTION drop_it()`)
	insert(t, pool, 100)
	exec(t, pool, `UPDATE river.river_job SET max_attempts = 1`)
	kind := raceApply(effectKind())
	kind.ShareBy = []string{"value"}
	l := New(pool, testOptions(t), kind)
	l.contended = time.Now().Add(time.Hour)
	turns := 0
	for ask[int](t, pool, `SELECT count(*) FROM river.river_job WHERE state = 'discarded'`) == 0 && turns < 40 {
		insert(t, pool, 50) // so that the other loop commits between the turns with the job
		_, _ = l.turn(t.Context(), turns%2)
		turns++
	}
	if got := ask[string](t, pool, `SELECT coalesce(string_agg(args->>'value', ' '), 'none') FROM river.river_job WHERE state = 'discarded'`); got != "77" {
		t.Errorf("after %d turns these were discarded: %s, want 77", turns, got)
	}
}
