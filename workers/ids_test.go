package workers

import (
	"context"
	"strings"
	"testing"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestIDsThatWentBack enqueues newer versions after job ids went back, for every reason
// there can be, and checks that none of them counts as an older version.
func TestIDsThatWentBack(t *testing.T) {
	t.Parallel()
	schema := queue.Schema(dbtest.RiverSchema)
	for name, goBack := range map[string]func(t *testing.T, pool *dbpool.Pool) *dbpool.Pool{
		"logical replication leaves sequences out": func(t *testing.T, pool *dbpool.Pool) *dbpool.Pool {
			t.Helper()
			execute(t, pool, `DELETE FROM river.river_job`)
			execute(t, pool, `SELECT setval('river.river_job_id_seq', 1, false)`)
			return pool
		},
		"jobs that have finished came along": func(t *testing.T, pool *dbpool.Pool) *dbpool.Pool {
			t.Helper()
			execute(t, pool, `UPDATE river.river_job SET id = id + 100`)
			execute(t, pool, `UPDATE activities SET ingest_job_id = ingest_job_id + 100`)
			execute(t, pool, `SELECT setval('river.river_job_id_seq', 1, false)`)
			return pool
		},
		"river's schema is new": func(t *testing.T, pool *dbpool.Pool) *dbpool.Pool {
			t.Helper()
			execute(t, pool, `DROP SCHEMA river CASCADE`)
			execute(t, pool, `DROP TABLE worker_migrations, ingest_rejects, ingest_versions, user_locks, worker_processes, acwr_backfills, acwr_backfill_chunks, acwr_settings, token_provider CASCADE`)
			execute(t, pool, `DO $$ DECLARE f regprocedure; BEGIN FOR f IN SELECT oid FROM pg_proc WHERE prokind IN ('a', 'f') AND pronamespace = current_schema()::regnamespace LOOP CONTINUE WHEN NOT EXISTS (SELECT FROM pg_proc WHERE oid = f); EXECUTE 'DROP ROUTINE IF EXISTS ' || f || ' CASCADE'; END LOOP; END $$`)
			return pool
		},
		"data alone is restored": func(t *testing.T, pool *dbpool.Pool) *dbpool.Pool {
			t.Helper()
			fresh := dbtest.Migrated(t)
			for _, row := range query[[]string](t, pool, `SELECT array_agg(format('INSERT INTO activities (activity_id, user_id, date, total_load_miles, trimp, ingest_job_id) VALUES (%s, %s, %L, %s, %s, %s)', activity_id, user_id, date, total_load_miles, trimp, ingest_job_id)) FROM activities`) {
				execute(t, fresh, row)
			}
			return fresh
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := dbtest.Migrated(t)
			for id := range int64(5) {
				enqueue(t, pool, []jobs.Activity{run(id+1, 1, "2025-01-01", 5, 50)})
			}
			drain(t, pool)
			enqueue(t, pool, []jobs.Activity{deletion(5, 1, "2025-01-01")}) // its version is recorded in ingest_versions
			drain(t, pool)

			pool = goBack(t, pool)
			if strings.HasPrefix(name, "river's") {
				if _, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
					t.Fatal(err)
				}
			}
			enqueue(t, pool, []jobs.Activity{run(4, 1, "2025-01-01", 6, 60)})
			enqueue(t, pool, []jobs.Activity{run(1, 1, "2025-01-01", 7, 70)})
			enqueue(t, pool, []jobs.Activity{run(1, 1, "2025-01-01", 8, 80), run(5, 1, "2025-01-01", 9, 90)})
			if ids, err := ReadIDs(t.Context(), pool, schema); err != nil || !ids.WentBack() || !strings.Contains(ids.Err().Error(), "worker migrate up") {
				t.Fatalf("ids %+v, %v, %v", ids, err, ids.Err())
			}
			ids, renumbered, err := ContinueIDs(t.Context(), pool, schema)
			if err != nil || renumbered != 3 || !ids.WentBack() {
				t.Fatalf("ids %+v, %d jobs renumbered, %v; want 3", ids, renumbered, err)
			}
			if ids, err := ReadIDs(t.Context(), pool, schema); err != nil || ids.WentBack() {
				t.Errorf("afterwards: %+v, %v", ids, err)
			}
			drain(t, pool)
			enqueue(t, pool, []jobs.Activity{run(2, 1, "2025-01-01", 10, 100)})
			drain(t, pool)
			if got, want := rows(t, pool), "1 1 2025-01-01 8; 2 1 2025-01-01 10; 3 1 2025-01-01 5; 4 1 2025-01-01 6; 5 1 2025-01-01 9"; got != want {
				t.Errorf("rows = %q, want %q", got, want)
			}
			checkOracle(t, pool)
		})
	}
}

// TestIDsThatGoBackUnderTheWorker sets the sequence back while a lane works: the lane
// stalls, and its jobs spend no attempt, until the ids continue.
func TestIDsThatGoBackUnderTheWorker(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `SELECT setval('river.river_job_id_seq', 900)`)
	enqueue(t, pool, []jobs.Activity{run(1, 1, "2025-01-01", 5, 50)})
	drain(t, pool)
	execute(t, pool, `SELECT setval('river.river_job_id_seq', 1, false)`)
	enqueue(t, pool, []jobs.Activity{run(1, 1, "2025-01-01", 6, 60)})
	_, err := newService(t, pool, config.Default()).lanes[0].Turn(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the ids of jobs went back") {
		t.Fatalf("Turn = %v, want an error that ids went back", err)
	}
	if got := query[string](t, pool, `SELECT state || ' ' || attempt FROM river.river_job WHERE state <> 'completed'`); got != "available 0" {
		t.Errorf("the job is %s, want available 0", got)
	}
	if _, _, err := ContinueIDs(t.Context(), pool, queue.Schema(dbtest.RiverSchema)); err != nil {
		t.Fatal(err)
	}
	drain(t, pool)
	if got, want := rows(t, pool), "1 1 2025-01-01 6"; got != want {
		t.Errorf("rows = %q, want %q", got, want)
	}
}

// TestIDsUnderLoad compares ids while jobs keep storing activities: activities stored
// between the two reads must not count as ids that went back.
func TestIDsUnderLoad(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	ctx, stop := context.WithCancel(t.Context())
	stored := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			_, err := pool.Exec(ctx, `WITH job AS (SELECT nextval('river.river_job_id_seq') AS id) INSERT INTO activities (activity_id, user_id, date, ingest_job_id) SELECT id, 1, '2025-01-01', id FROM job`)
			if err != nil && ctx.Err() == nil {
				stored <- err
				return
			}
		}
		stored <- nil
	}()
	for range 500 {
		ids, err := ReadIDs(t.Context(), pool, queue.Schema(dbtest.RiverSchema))
		if err != nil || ids.WentBack() {
			t.Fatalf("ids %+v, %v", ids, err)
		}
	}
	stop()
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
}
