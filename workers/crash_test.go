package workers

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/riverqueue/river"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestCrashAtEveryStatement breaks the lanes' connection once at every statement,
// before and after the server executed it. The rows must then be those of an
// undisturbed run, and no job may spend an attempt.
func TestCrashAtEveryStatement(t *testing.T) {
	t.Parallel()
	for name, enqueueAll := range map[string]func(*testing.T, *dbpool.Pool){
		"ingest": func(t *testing.T, pool *dbpool.Pool) {
			t.Helper()
			enqueue(t, pool,
				[]jobs.Activity{run(10, 1, "2025-01-05", 4, 40), run(11, 2, "2025-01-05", 4, 40)},
				[]jobs.Activity{run(1, 1, "2025-01-01", 9, 90)},                                 // changed
				[]jobs.Activity{run(2, 1, "2025-03-01", 2, 20)},                                 // moved
				[]jobs.Activity{run(6, 2, "2025-01-20", 6, 60)},                                 // the same again
				[]jobs.Activity{deletion(3, 2, "2025-01-03"), run(12, 2, "2025-01-06", 1, 10)},  // deleted
				[]jobs.Activity{run(4, 1, "2025-01-04", 7, 70), run(13, 1, "2025-01-07", 3, 1)}, // rejected: of another user
				[]jobs.Activity{run(10, 1, "2025-01-08", 5, 50)},                                // moved before it is visible
			)
		},
		"refused": func(t *testing.T, pool *dbpool.Pool) {
			t.Helper()
			enqueue(t, pool,
				[]jobs.Activity{run(10, 1, "2025-01-05", 4, 40), run(11, 1, "2025-01-06", 666, 40)},
				[]jobs.Activity{run(1, 1, "2025-01-01", 9, 90)},
			)
		},
		"recalculated": func(t *testing.T, pool *dbpool.Pool) {
			t.Helper()
			execute(t, pool, `UPDATE activities SET total_load_miles = total_load_miles + 1, acute_chronic_ratio = NULL`)
			for user := int32(1); user <= 2; user++ {
				insertJob(t, pool, jobs.ACWRRecalc{Ranges: []jobs.DateRange{{UserID: user, From: "2025-01-01", To: "2025-02-01"}}}, jobs.QueueRecalc)
			}
		},
	} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, after %t", name, after), func(t *testing.T) {
				t.Parallel()
				r := newCrashRig(t)
				want := r.outcome(enqueueAll, &crashDB{DB: r.crashes})
				for at := 1; ; at++ {
					db := &crashDB{DB: r.crashes, at: at, after: after}
					got := r.outcome(enqueueAll, db)
					if got != want {
						t.Errorf("connection lost at statement %d: %s\nundisturbed: %s", at, got, want)
					}
					if !db.broken() {
						if at < 5 {
							t.Errorf("only %d statements", at-1)
						}
						return
					}
				}
			})
		}
	}
}

// crashRig runs the same jobs repeatedly over one database.
type crashRig struct {
	t       *testing.T
	pool    *dbpool.Pool
	crashes *dbpool.Pool // its connections break
}

func newCrashRig(t *testing.T) *crashRig {
	t.Helper()
	pool := dbtest.Migrated(t)
	execute(t, pool, `ALTER TABLE activities ADD CONSTRAINT injected CHECK (total_load_miles <> 666)`)
	enqueue(t, pool, []jobs.Activity{
		run(1, 1, "2025-01-01", 1, 10), run(2, 1, "2025-01-02", 2, 20), run(3, 2, "2025-01-03", 3, 30),
		run(4, 2, "2025-01-04", 4, 40), run(5, 1, "2025-01-20", 5, 50), run(6, 2, "2025-01-20", 6, 60),
	})
	drain(t, pool)
	execute(t, pool, `CREATE TABLE activities_before AS SELECT * FROM activities`)
	return &crashRig{t, pool, dbtest.Open(t, pool.Config().ConnString())}
}

// outcome works the jobs over db and describes the rows afterwards.
func (r *crashRig) outcome(enqueueAll func(*testing.T, *dbpool.Pool), db *crashDB) string {
	r.t.Helper()
	for _, table := range []string{"activities", "ingest_rejects", "ingest_versions", "river.river_job"} {
		execute(r.t, r.pool, `DELETE FROM `+table)
	}
	execute(r.t, r.pool, `INSERT INTO activities SELECT * FROM activities_before`)
	enqueueAll(r.t, r.pool)
	s, err := newOver(r.t.Context(), r.pool, db, config.Default(), slog.New(slog.DiscardHandler), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	for _, l := range s.lanes {
		// The server may keep the jobs locked for a moment after the connection is lost.
		for l.Class == Live && ctx.Err() == nil && query[bool](r.t, r.pool, `SELECT EXISTS (SELECT FROM river.river_job WHERE queue = $1 AND finalized_at IS NULL)`, l.Queue) {
			_, _ = l.Turn(ctx)
		}
	}
	checkOracle(r.t, r.pool)
	return query[string](r.t, r.pool, `
		SELECT concat_ws(E'\n',
			(SELECT string_agg((to_jsonb(a) - 'ingest_job_id')::text, E'\n' ORDER BY activity_id) FROM activities AS a),
			(SELECT string_agg(concat_ws(' ', 'reject', activity_id, user_id, payload, reason), E'\n' ORDER BY activity_id) FROM ingest_rejects),
			(SELECT string_agg(concat_ws(' ', 'jobs', n, kind, state, 'attempt', attempt, errors), E'\n' ORDER BY kind, state)
			 FROM (SELECT count(*) AS n, kind, state, attempt, errors::text FROM river.river_job GROUP BY 2, 3, 4, 5) AS finished))`)
}

// insertJob inserts a job like River's client.
func insertJob(t *testing.T, pool *dbpool.Pool, args river.JobArgs, queue string) {
	t.Helper()
	data, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	execute(t, pool, `INSERT INTO river.river_job (kind, queue, args, max_attempts) VALUES ($1, $2, $3, 25)`, args.Kind(), queue, data)
}
