package workers

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// purge removes everything of a user, call by call.
func purge(t *testing.T, pool *dbpool.Pool, user int32) (calls int) {
	t.Helper()
	for {
		calls++
		if query[bool](t, pool, `SELECT (river.purge_athlete($1, '0') ->> 'done')::bool`, user) {
			return calls
		}
		if calls == 1000 {
			t.Fatalf("not purged after %d calls", calls)
		}
		time.Sleep(time.Millisecond) // for jobs that are being worked
	}
}

// leaving is the user who is purged. Nothing else contains the name or the id, which
// has more digits than the fractional seconds in the rows' times.
const leaving, leavingName = 1_707_071_707, "Zugspitze"

// traces returns every table, of any schema, that has rows with the leaving user's id
// or name, with their number. Tables of later versions are included.
func traces(t *testing.T, pool *dbpool.Pool) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, table := range tablesWhere(t, pool, `true`) {
		if n := query[int](t, pool, fmt.Sprintf(`SELECT count(*) FROM %s AS t WHERE t::text LIKE '%%%d%%' OR t::text LIKE '%%%s%%'`, table, leaving, leavingName)); n > 0 {
			found[table] = n
		}
	}
	return found
}

// tracesLeft returns the traces besides the athlete's row of user_locks, which records the
// purge.
func tracesLeft(t *testing.T, pool *dbpool.Pool) map[string]int {
	t.Helper()
	left := traces(t, pool)
	delete(left, "user_locks")
	return left
}

func tablesWhere(t *testing.T, pool *dbpool.Pool, condition string) []string {
	t.Helper()
	return query[[]string](t, pool, `SELECT coalesce(array_agg(c.oid::regclass::text ORDER BY c.oid::regclass::text), '{}') FROM pg_class AS c
		WHERE relkind IN ('r', 'p') AND relnamespace::regnamespace::text NOT LIKE 'pg\_%' AND relnamespace <> 'information_schema'::regnamespace AND `+condition)
}

// holding returns a database with rows of the leaving user and of user 8 in every table
// that may have rows of a user.
func holding(t *testing.T) *dbpool.Pool {
	t.Helper()
	pool := dbtest.Migrated(t)
	fillHolding(t, pool)
	return pool
}

func fillHolding(t *testing.T, pool *dbpool.Pool) {
	t.Helper()
	ours := func(id int64, date string) jobs.Activity {
		a := run(id, leaving, date, 5, 50)
		a.Name = ptr(leavingName)
		return a
	}
	partial := ours(3, "2025-03-03")
	partial.Partial = true
	invalid := ours(4, "2025-03-04")
	invalid.StrengthRPE = ptr(int32(99))
	enqueue(t, pool, []jobs.Activity{ours(1, "2025-03-01"), run(101, 8, "2025-03-01", 3, 30)})
	late := enqueue(t, pool, []jobs.Activity{ours(1, "2025-03-02")})
	execute(t, pool, `UPDATE river.river_job SET state = 'retryable', scheduled_at = now() + interval '1 hour', attempt = 3 WHERE id = $1`, late[0])
	enqueueRaw(t, pool, []jobs.Activity{ours(1, "2025-03-01"), ours(2, "2025-03-02"), partial, deletion(5, leaving, "2025-03-05"), invalid})
	execute(t, pool, `INSERT INTO acwr_settings (user_id, formula) VALUES ($1, 'ewma'), (8, 'decay')`, leaving)
	execute(t, pool, `SELECT river.save_user_token($1, 'access', 'refresh', 1790000000, '10.0.0.1'), river.save_user_token(8, 'a', 'r', 1790000000)`, leaving)
	execute(t, pool, `INSERT INTO ingest_rejects (job_id, user_id, payload, reason) VALUES (1, NULL, jsonb_build_object('user_id', $1::text, 'name', 'x'), 'user_id: string')`, fmt.Sprint(leaving))
	execute(t, pool, `INSERT INTO ingest_rejects (job_id, user_id, payload, reason) VALUES (1, 8, '{"user_id": 8}', 'r'), (1, NULL, '[7]', 'r')`)
	drain(t, pool)

	// Jobs that wait, are finished, and have failed.
	mixed := []jobs.Activity{run(111, 8, "2025-03-11", 3, 30), ours(11, "2025-03-11"), run(112, 9, "2025-03-12", 4, 40)}
	enqueueRaw(t, pool, mixed)
	textID := enqueueRaw(t, pool, []jobs.Activity{ours(12, "2025-03-12")})
	scheduled := enqueueRaw(t, pool, []jobs.Activity{ours(13, "2025-03-13"), run(113, 8, "2025-03-13", 6, 60)})
	execute(t, pool, `UPDATE river.river_job SET state = 'scheduled', scheduled_at = now() + interval '1 hour' WHERE id = $1`, scheduled)
	for _, state := range []string{"discarded", "cancelled", "completed", "pending"} {
		id := enqueueRaw(t, pool, mixed)
		execute(t, pool, `UPDATE river.river_job SET state = $2::text::river.river_job_state, finalized_at = CASE WHEN $2 <> 'pending' THEN now() END WHERE id = $1`, id, state)
	}
	execute(t, pool, `UPDATE river.river_job SET args = jsonb_set(args, '{activities,0,user_id}', to_jsonb($2::text)) WHERE id = $1`, textID, fmt.Sprint(leaving))
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	for _, ranges := range [][]jobs.DateRange{{{UserID: leaving, From: "2025-01-01", To: "2025-02-01"}}, {{UserID: 8, From: "2025-03-01", To: "2025-03-01"}, {UserID: leaving, From: "2025-03-01", To: "2025-03-01"}}} {
		if _, err := enqueuer.Recalc(t.Context(), jobs.PriorityLive, jobs.ACWRRecalc{Ranges: ranges}); err != nil {
			t.Fatal(err)
		}
	}
	err = pool.InTx(t.Context(), func(ctx context.Context, tx pgx.Tx) error {
		_, err := enqueuer.RefreshTokensTx(ctx, tx, jobs.PriorityLive, []int32{8, leaving}, time.Hour)
		if err == nil {
			_, err = enqueuer.RefreshTokensTx(ctx, tx, jobs.PriorityLive, []int32{leaving}, time.Hour)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// enqueueRaw inserts a job whose activities are not validated.
func enqueueRaw(t *testing.T, pool *dbpool.Pool, activities []jobs.Activity) int64 {
	t.Helper()
	args, err := json.Marshal(jobs.ActivityIngest{Activities: activities})
	if err != nil {
		t.Fatal(err)
	}
	return query[int64](t, pool, `INSERT INTO river.river_job (args, kind, queue, max_attempts) VALUES ($1, 'activity_ingest', 'ingest', 25) RETURNING id`, args)
}

// TestPurgeLeavesNothing: no table of any schema has anything of the athlete, and other
// athletes keep everything. A table of a later version fails the test until a purge
// covers it.
func TestPurgeLeavesNothing(t *testing.T) {
	t.Parallel()
	pool := holding(t)
	before := traces(t, pool)
	t.Log(before)
	for _, table := range tablesWhere(t, pool, `EXISTS (SELECT FROM pg_attribute AS a WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped
		AND (attname IN ('user_id', 'payload', 'args') OR atttypid IN ('json'::regtype, 'jsonb'::regtype)))`) {
		if rivers := strings.HasPrefix(table, "river.river_") && table != "river.river_job"; before[table] == 0 && !rivers {
			t.Errorf("table %s has a column for users' data, and no row of the leaving user: insert one", table)
		}
	}
	execute(t, pool, `UPDATE token_audit_log SET timestamp = now() - interval '3 years' WHERE user_id = 8`)
	others := query[string](t, pool, othersQuery)
	if calls := purge(t, pool, leaving); calls != 1 {
		t.Errorf("%d calls, want 1 for so few rows", calls)
	}
	after := tracesLeft(t, pool)
	if len(after) > 0 {
		t.Errorf("still there: %v %v", after, query[[]string](t, pool, `SELECT coalesce(array_agg(j::text), '{}') FROM river.river_job AS j WHERE j::text LIKE '%1707071707%' OR j::text LIKE '%Zugspitze%'`))
	}
	if diff := cmp.Diff(others, query[string](t, pool, othersQuery)); diff != "" {
		t.Errorf("rows of others (-before +after):\n%s", diff)
	}
	execute(t, pool, `UPDATE river.river_job SET state = 'available', scheduled_at = now(), finalized_at = NULL WHERE state NOT IN ('completed') AND kind <> 'token_refresh'`)
	drain(t, pool)
	after = tracesLeft(t, pool)
	if len(after) > 0 {
		t.Errorf("the jobs that waited brought back: %v", after)
	}
	if got := rows(t, pool); got != "101 8 2025-03-01 3; 111 8 2025-03-11 3; 112 9 2025-03-12 4; 113 8 2025-03-13 6" {
		t.Errorf("rows of others: %s", got)
	}
	if got := query[int](t, pool, `SELECT count(*) FROM river.river_job WHERE state IN ('cancelled', 'discarded')`); got > 0 {
		t.Errorf("%d jobs of others failed", got)
	}
}

// othersQuery reads everything of users 8 and 9; of jobs, only their entries.
const othersQuery = `
SELECT concat_ws(E'\n',
	(SELECT string_agg(a::text, E'\n' ORDER BY a::text) FROM activities AS a WHERE user_id IS DISTINCT FROM 1707071707),
	(SELECT string_agg(v::text, E'\n' ORDER BY activity_id) FROM ingest_versions AS v WHERE user_id <> 1707071707),
	(SELECT string_agg(r::text, E'\n' ORDER BY id) FROM ingest_rejects AS r WHERE user_id IS DISTINCT FROM 1707071707 AND NOT payload::text LIKE '%1707071707%'),
	(SELECT string_agg(s::text, E'\n' ORDER BY user_id) FROM acwr_settings AS s WHERE user_id <> 1707071707),
	(SELECT string_agg(t::text, E'\n' ORDER BY user_id) FROM user_tokens AS t WHERE user_id <> 1707071707),
	(SELECT string_agg(l::text, E'\n') FROM token_audit_log AS l WHERE user_id <> 1707071707),
	(SELECT string_agg(concat_ws(' ', id, state, entry), E'\n' ORDER BY id, place) FROM river.river_job,
		jsonb_array_elements(coalesce(args->'activities', args->'ranges', args->'user_ids')) WITH ORDINALITY AS e (entry, place) WHERE entry::text NOT LIKE '%1707071707%'))`

// TestPurgeKeepsAuditRows: while they are within their retention.
func TestPurgeKeepsAuditRows(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `INSERT INTO token_audit_log (user_id, operation, timestamp) SELECT 7, 'save', now() - days * interval '1 day' FROM unnest('{1,10,800}'::int[]) AS days`)
	for _, c := range []struct {
		retention string
		kept      int
	}{{`, NULL`, 3}, {``, 2}, {`, '5 days'`, 1}, {`, '0'`, 0}} {
		execute(t, pool, `SELECT river.purge_athlete(7`+c.retention+`)`)
		if got := query[int](t, pool, `SELECT count(*) FROM token_audit_log`); got != c.kept {
			t.Errorf("purge_athlete(7%s) left %d audit rows, want %d", c.retention, got, c.kept)
		}
	}
	for args, want := range map[string]string{`0`: "user_id: must be a positive integer, got 0", `NULL`: "got nothing", `7, '-1 day'`: "must not be negative"} {
		if _, err := pool.Exec(t.Context(), `SELECT river.purge_athlete(`+args+`)`); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("purge_athlete(%s) = %v, want %q", args, err, want)
		}
	}
	err := pgx.BeginTxFunc(t.Context(), pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `SELECT river.purge_athlete(7)`)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "isolation level read committed") {
		t.Errorf("with a snapshot from before the lock: %v", err)
	}
}

// TestPurgedAthleteComesBack: jobs enqueued before the purge do nothing, even if their
// transaction commits afterwards. Jobs enqueued after it are worked.
func TestPurgedAthleteComesBack(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	enqueue(t, pool, []jobs.Activity{run(1, leaving, "2025-03-01", 5, 50)})
	drain(t, pool)
	slow, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{
		`{"activities": [{"activity_id": 2, "user_id": 1707071707, "date": "2025-03-02", "total_load_miles": 2}, {"activity_id": 102, "user_id": 8, "date": "2025-03-02", "total_load_miles": 2}]}`,
		`{"activities": [{"activity_id": 3, "user_id": 1707071707, "date": "yesterday", "name": "Zugspitze"}]}`,
		`{"activities": [{"activity_id": 4, "user_id": "1707071707", "date": "2025-03-02", "name": "Zugspitze"}]}`,
		`{"activities": [{"activity_id": 5, "user_id": 1707071707, "date": "2025-03-02", "deleted": true}]}`,
		`{"activities": [{"activity_id": 6, "user_id": 1707071707, "date": "2025-03-02", "trimp": -1}]}`,
	} {
		if _, err := slow.Exec(t.Context(), `INSERT INTO river.river_job (args, kind, queue, max_attempts) VALUES ($1, 'activity_ingest', 'ingest', 25)`, args); err != nil {
			t.Fatal(err)
		}
	}
	purge(t, pool, leaving)
	if err := slow.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	drain(t, pool)
	if got := rows(t, pool); got != "102 8 2025-03-02 2" {
		t.Errorf("jobs from before left %s", got)
	}
	after := tracesLeft(t, pool)
	if len(after) > 0 {
		t.Errorf("jobs from before left something in %v", after)
	}
	enqueue(t, pool, []jobs.Activity{run(2, leaving, "2025-03-02", 7, 70)})
	drain(t, pool)
	if got := rows(t, pool); got != "2 1707071707 2025-03-02 7; 102 8 2025-03-02 2" {
		t.Errorf("who came back has %s", got)
	}
	checkOracle(t, pool)
	purge(t, pool, leaving)
	if got := rows(t, pool); got != "102 8 2025-03-02 2" {
		t.Errorf("the second purge left %s", got)
	}
}

// TestPurgeInPortions: a purge removes more rows than one call may, and is interrupted
// on the way.
func TestPurgeInPortions(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date) SELECT i, 1707071707, '2025-01-01' FROM generate_series(1, 2500) AS i`)
	execute(t, pool, `INSERT INTO ingest_versions SELECT 1707071707, i, 1 FROM generate_series(1, 1500) AS i`)
	execute(t, pool, `INSERT INTO river.river_job (args, kind, queue, max_attempts) SELECT jsonb_build_object('ranges', jsonb_build_array(jsonb_build_object('user_id', 1707071707 + i % 2, 'from', '2025-01-01', 'to', '2025-01-01'))),
		'acwr_recalc', 'recalc', 25 FROM generate_series(1, 3000) AS i`)
	execute(t, pool, `INSERT INTO acwr_settings (user_id, formula) VALUES (1707071707, 'ewma')`) // which enqueues its recalculation
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT river.purge_athlete(1707071707)`); err != nil {
		t.Fatal(err)
	}
	before := traces(t, pool)
	execute(t, pool, `SELECT pg_terminate_backend($1)`, int32(tx.Conn().PgConn().PID()))
	_ = tx.Rollback(t.Context())
	if diff := cmp.Diff(before, traces(t, pool)); diff != "" {
		t.Errorf("an interrupted call changed something:\n%s", diff)
	}
	if calls := purge(t, pool, leaving); calls != 4 {
		t.Errorf("%d calls, want 4: of 1,000 jobs each", calls)
	}
	after := tracesLeft(t, pool)
	if len(after) > 0 || query[int](t, pool, `SELECT count(*) FROM river.river_job`) != 1500 {
		t.Errorf("rows of the purged athlete are left in %v", after)
	}
}

// TestPurgeOfRejectsThatAreTriedAgain: the new job of a reject that was being retried
// counts as enqueued before the purge, although it gets its id after the purge began.
func TestPurgeOfRejectsThatAreTriedAgain(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `INSERT INTO ingest_rejects (job_id, user_id, payload, reason) VALUES (1, 1707071707, '{}', 'r')`)
	retry, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := retry.Exec(t.Context(), `DELETE FROM ingest_rejects`); err != nil {
		t.Fatal(err)
	}
	purged := make(chan error, 1)
	go func() {
		_, err := pool.Exec(t.Context(), `SELECT river.purge_athlete(1707071707)`)
		purged <- err
	}()
	awaitLock(t, pool, purged)
	if _, err := retry.Exec(t.Context(), `SELECT river.enqueue_activity_ingest('[{"activity_id": 1, "user_id": 1707071707, "date": "2025-03-01"}]')`); err != nil {
		t.Fatal(err)
	}
	if err := retry.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-purged; err != nil {
		t.Fatal(err)
	}
	drain(t, pool)
	after := tracesLeft(t, pool)
	if len(after) > 0 {
		t.Errorf("rows of the purged athlete are left in %v", after)
	}
}
