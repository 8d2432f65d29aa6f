package admin

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var options = Options{
	RiverSchema: dbtest.RiverSchema, Queues: []string{"ingest", "ingest_bulk", "recalc", "recalc_bulk", "backfill"},
	Kinds: []string{"activity_ingest"}, Timeout: 10 * time.Second,
}

func execute(t *testing.T, pool *dbpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func read(t *testing.T, pool *dbpool.Pool) Snapshot {
	t.Helper()
	s, err := Read(t.Context(), pool, options)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReadOfAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	s := read(t, dbtest.Migrated(t))
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), ":null,") != strings.Contains(string(text), `"paused_at":null`) {
		t.Errorf("a list is null: %s", text)
	}
	for _, want := range []string{`"processes":[]`, `"backfills":[]`, `"recent":[]`, `"discarded":[]`, `"cancelled":[]`, `"tokens":{"valid":0,`, `"name":"recalc_bulk"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the snapshot lacks %s: %s", want, text)
		}
	}
	if diff := cmp.Diff([]Freshness{{Lane: "live"}, {Lane: "bulk"}}, s.Freshness); diff != "" {
		t.Errorf("freshness (-want +got):\n%s", diff)
	}
	if findings := s.Findings(); len(findings) != 1 || findings[0].What != "No worker is alive." {
		t.Errorf("findings = %v, want that no worker is alive", findings)
	}
}

// manyJobsQuery fills queues like a large import and a day's work. The job enqueued
// first waits for its next try.
const manyJobsQuery = `
INSERT INTO river.river_job (state, kind, queue, args, max_attempts, priority, created_at, scheduled_at, finalized_at)
SELECT state::river.river_job_state, 'activity_ingest', queue, '{}', 25, priority,
       now() - age * interval '1 second', now() - age * interval '1 second', CASE WHEN state = 'completed' THEN now() END
FROM (
	SELECT CASE WHEN i <= 40000 THEN 'available' WHEN i <= 90000 THEN 'completed' WHEN i <= 90500 THEN 'running' ELSE 'retryable' END AS state,
	       CASE WHEN i <= 40000 THEN 'ingest_bulk' ELSE 'ingest' END AS queue,
	       CASE WHEN i <= 40000 THEN 3 ELSE 1 END AS priority,
	       CASE WHEN i <= 40000 THEN 1000 - i / 100.0 WHEN i <= 90500 THEN 10 ELSE 100 END AS age
	FROM generate_series(1, 90510) AS i
) AS made`

func TestReadOfLongQueues(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `ALTER TABLE river.river_job SET (autovacuum_enabled = off)`)
	execute(t, pool, manyJobsQuery)
	if bulk := read(t, pool).Freshness[1]; bulk.Waiting < 10_001 || bulk.About != "at least" {
		t.Errorf("bulk before the table was analyzed = %+v, want a lower bound", bulk)
	}
	execute(t, pool, `ANALYZE river.river_job`)
	s := read(t, pool)
	for _, q := range s.Queues {
		switch q.Name {
		case "ingest":
			if running, retryable := q.In("running"), q.In("retryable"); running.Jobs != 500 || retryable.Jobs != 10 || retryable.Estimated {
				t.Errorf("ingest: running %+v, retryable %+v, want exactly 500 and 10", running, retryable)
			}
		case "ingest_bulk":
			if got := q.In("available"); !got.Estimated || got.Jobs < 36_000 || got.Jobs > 44_000 {
				t.Errorf("ingest_bulk: available %+v, want an estimate of about 40,000", got)
			}
		}
	}
	if live, bulk := s.Freshness[0], s.Freshness[1]; live.Waiting != 510 || live.About != "" || bulk.About != "about" || live.Age < 100 || live.Age > 160 || bulk.Age < 999 || bulk.Age > 1060 {
		t.Errorf("freshness = %+v, want the live lane 100 s behind and the bulk lane 1,000 s", s.Freshness)
	}
}

func TestQueriesFollowTheIndexes(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `INSERT INTO ingest_rejects (job_id, payload, reason, rejected_at) SELECT i, '{}', 'injected', now() - i * interval '1 minute' FROM generate_series(1, 20000) AS i`)
	execute(t, pool, manyTokensQuery)
	execute(t, pool, `ANALYZE`)
	for name, q := range map[string]struct {
		sql  string
		args []any
		want string // the index
	}{
		"rejects":        {recentRejectsQuery, []any{recentRows}, "ingest_rejects_pkey"},
		"counted reject": {countRejectsQuery, []any{maxCounted + 1}, "ingest_rejects_rejected_at_idx"},
		"expired tokens": {countTokensQuery, []any{-1 << 60, 0, maxCounted + 1}, "user_tokens_expiry_worker_idx"},
		"reauthorize":    {countReauthorizedQuery, []any{maxCounted + 1}, "user_tokens_expiry_worker_idx"},
	} {
		rows, err := pool.Query(t.Context(), "EXPLAIN "+queue.Schema(dbtest.RiverSchema).SQL(q.sql), q.args...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if plan := strings.Join(lines, "\n"); !strings.Contains(plan, q.want) || strings.Contains(plan, "Seq Scan on ingest_rejects") || strings.Contains(plan, "Seq Scan on user_tokens") {
			t.Errorf("%s does not follow %s:\n%s", name, q.want, plan)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `INSERT INTO user_tokens (user_id, access_token, refresh_token, expires_at, reauthorize_since) SELECT i, '', '', extract(epoch FROM now())::bigint + (array[-60, 600, 7200, 7200])[i % 4 + 1], CASE WHEN i = 3 THEN now() END
		FROM generate_series(0, 11) AS i`)
	if diff := cmp.Diff(Tokens{Valid: 5, Expiring: 3, Expired: 3, NeedsReauthorization: 1}, read(t, pool).Tokens); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
}

// manyTokensQuery inserts 200 tokens that expired, 100 that expire within half an hour,
// 29,500 that are valid and 200 that the athlete has to renew.
const manyTokensQuery = `
INSERT INTO user_tokens (user_id, access_token, refresh_token, expires_at, reauthorize_since)
SELECT i, repeat('a', 90), repeat('r', 90),
       extract(epoch FROM now())::bigint + CASE WHEN i <= 200 THEN -i WHEN i <= 300 THEN 60 + i ELSE 2000 + i % 20000 END,
       CASE WHEN i > 29800 THEN now() END
FROM generate_series(1, 30000) AS i`

// TestManyTokens: the states an operator acts on are counted exactly, the rest is
// estimated.
func TestManyTokens(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, manyTokensQuery)
	execute(t, pool, `ANALYZE user_tokens`)
	got := read(t, pool).Tokens
	if got.Valid < 28_000 || got.Valid > 31_000 {
		t.Errorf("valid = %d, want an estimate of 29,500", got.Valid)
	}
	got.Valid = 0
	if diff := cmp.Diff(Tokens{Expiring: 100, Expired: 200, NeedsReauthorization: 200}, got); diff != "" {
		t.Errorf("tokens (-want +got):\n%s", diff)
	}
	execute(t, pool, `UPDATE user_tokens SET reauthorize_since = now() WHERE user_id > 10000`)
	execute(t, pool, `ANALYZE user_tokens`)
	if got := read(t, pool).Tokens.NeedsReauthorization; got < 19_000 || got > 21_000 {
		t.Errorf("needs_reauthorization = %d, want an estimate of 20,000", got)
	}
}

// TestEnqueuedCountsEachJobOnce: even if a job's transaction was open for long, or the
// newest rows are deleted.
func TestEnqueuedCountsEachJobOnce(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	insert := `INSERT INTO river.river_job (kind, queue, args, max_attempts) SELECT $1, 'ingest', '{}', 25 FROM generate_series(1, $2::int)`
	execute(t, pool, insert, "activity_ingest", 5) // before the watch: not counted
	w := NewWatch(pool, options, slog.New(slog.DiscardHandler))
	take := func() {
		t.Helper()
		if err := w.TakeSnapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	take()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), insert, "activity_ingest", 3); err != nil {
		t.Fatal(err)
	}
	execute(t, pool, insert, "foreign", 4)
	take()
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	take()
	execute(t, pool, `DELETE FROM river.river_job WHERE kind = 'foreign'`)
	take()
	execute(t, pool, insert, "activity_ingest", 2)
	take()
	take()
	if diff := cmp.Diff(map[string]int64{"activity_ingest": 5, "other": 4}, w.Enqueued()); diff != "" {
		t.Errorf("enqueued (-want +got):\n%s", diff)
	}
}

func TestFindings(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)
	healthy := func() Snapshot {
		return Snapshot{TakenAt: now, Processes: []Process{{Alive: true}}, Freshness: []Freshness{{Lane: "live", Age: 2}, {Lane: "bulk", Age: 600}}}
	}
	if got := healthy().Findings(); len(got) != 0 {
		t.Errorf("findings of a healthy system = %v", got)
	}
	for want, change := range map[string]func(*Snapshot){
		"critical: No worker is alive.": func(s *Snapshot) { s.Processes[0].Alive = false },
		"critical: The ids of jobs went back: job 900 stored an activity, and the newest id is 7. Newer versions of activities would pass for older ones, so the lanes that meet them stand still.": func(s *Snapshot) {
			s.JobIDs = JobIDs{Last: 7, Beyond: 900}
		},
		"critical: Athletes wait: the oldest activity that is not worked yet is 2 min 5 s old.": func(s *Snapshot) { s.Freshness[0].Age = 125 },
		"warning: The oldest import waits for 2 h 0 min.":                                       func(s *Snapshot) { s.Freshness[1].Age = 7200 },
		"warning: Queue ingest is paused since 1 Jun 12:00 UTC.":                                func(s *Snapshot) { s.Queues = []queue.Counts{{Name: "ingest", PausedAt: &now}} },
		"warning: 1 job was discarded within a day, after the last attempt.": func(s *Snapshot) {
			s.Discarded = []queue.EndedJob{{FinalizedAt: now.Add(-time.Hour)}, {FinalizedAt: now.Add(-25 * time.Hour)}}
		},
		"warning: 1 job was cancelled within a day, and not worked.": func(s *Snapshot) {
			s.Cancelled = []queue.EndedJob{{FinalizedAt: now.Add(-time.Hour)}}
		},
		"warning: At least 10 jobs were discarded within a day, after the last attempt.": func(s *Snapshot) {
			s.Discarded = make([]queue.EndedJob, recentRows)
			for i := range s.Discarded {
				s.Discarded[i].FinalizedAt = now.Add(-time.Hour)
			}
		},
		"warning: Queue backfill is paused since 1 Jun 12:00 UTC, and 3 jobs wait in it.": func(s *Snapshot) {
			s.Queues = []queue.Counts{{Name: "backfill", PausedAt: &now, States: []queue.StateCount{{State: "available", Jobs: 2}, {State: "retryable", Jobs: 1}}}}
		},
		"warning: The clocks of this machine and of the database differ by 5 min 0 s: logs are as wrong; workers go by the database's clock.": func(s *Snapshot) { s.ClockOff = 300 },
		"warning: Vacuum is held back by session 7 (report) for 12 min 0 s: claims become slow.": func(s *Snapshot) {
			s.Vacuum.Holders = []VacuumHolder{{What: "session 7 (report)", Age: 720, Cure: "SELECT pg_terminate_backend(7)"}}
		},
		"warning: Vacuum is held back by replication slot old: claims become slow.": func(s *Snapshot) {
			s.Vacuum.Holders = []VacuumHolder{{What: "replication slot old", Cure: "SELECT pg_drop_replication_slot('old')"}}
		},
		"warning: Vacuum is held back by replication slot new for 1 transaction: claims become slow.": func(s *Snapshot) {
			s.Vacuum.Holders = []VacuumHolder{{What: "replication slot new", Transactions: 1, Cure: "SELECT pg_drop_replication_slot('new')"}}
		},
		"notice: For how long other roles' transactions hold back vacuum is hidden from this role: they show only after 100000 transactions of the server.": func(s *Snapshot) {
			s.Vacuum.HiddenFrom = "worker"
		},
		"warning: Autovacuum off for river.river_job: finished jobs stay in table and indexes, which grow, and claims become slow.": func(s *Snapshot) {
			s.Upkeep.NotVacuumed = []string{"river.river_job"}
		},
		"warning: Autovacuum off for activities; of river.river_job waits until 40 % of its rows are dead: finished jobs stay in table and indexes, which grow, and claims become slow.": func(s *Snapshot) {
			s.Upkeep.NotVacuumed, s.Upkeep.Jobs = []string{"activities"}, DeadRows{"river.river_job", 0.4, 50, -1}
		},
		"warning: Indexes not valid: a, b: every write maintains them for nothing.": func(s *Snapshot) {
			s.Upkeep.Broken = []migrations.BrokenIndex{{Name: "a"}, {Name: "b", Leftover: true}}
		},
		"warning: Notifications fill 62 % of the server's queue of them: once it is full, commits that notify fail, as those do that enqueue jobs.": func(s *Snapshot) {
			s.Upkeep.Notifications = 0.62
		},
		"notice: 2 activities were rejected within a day as invalid.": func(s *Snapshot) { s.Rejects.LastDay = 2 },
		"notice: 1 athlete has to connect again.":                     func(s *Snapshot) { s.Tokens = Tokens{NeedsReauthorization: 1} },
	} {
		s := healthy()
		change(&s)
		got := s.Findings()
		if len(got) != 1 || fmt.Sprintf("%s: %s", got[0].Severity, got[0].What) != want || got[0].Do == "" {
			t.Errorf("findings = %v, want %s and what to do", got, want)
		}
	}
}
