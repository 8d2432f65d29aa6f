package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func execute(t *testing.T, pool *dbpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// TestGoodDatabase: nothing is found, and nothing changes.
func TestGoodDatabase(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	for _, f := range Examine(t.Context(), pool, config.Default()) {
		if !f.OK || (f.Warns() && f.Check != "vacuum" && f.Check != "workers") { // these depend on what else runs on the server
			t.Errorf("%+v", f)
		}
	}
	var processes int
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM worker_processes`).Scan(&processes); err != nil || processes != 0 {
		t.Errorf("%d processes, %v, want none, because the checks roll back", processes, err)
	}
}

// TestFindings breaks a database in one way after another.
func TestFindings(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	for _, c := range []struct {
		check, spoil, restore string
		ok                    bool
		about, cure           string
	}{
		{
			"autovacuum", `ALTER TABLE river.river_job SET (autovacuum_enabled = off)`, `ALTER TABLE river.river_job RESET (autovacuum_enabled)`,
			true, "off for river.river_job", "ALTER TABLE river.river_job RESET (autovacuum_enabled)",
		},
		{
			"autovacuum", `ALTER TABLE river.river_job SET (autovacuum_vacuum_scale_factor = 0.5, autovacuum_vacuum_threshold = 200000)`,
			`ALTER TABLE river.river_job SET (autovacuum_vacuum_scale_factor = 0.01); ALTER TABLE river.river_job RESET (autovacuum_vacuum_threshold)`,
			true, "of river.river_job waits until 50 % of its rows and 200000 rows are dead", "ALTER TABLE river.river_job SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 50)",
		},
		{
			"autovacuum", `ALTER TABLE river.river_job RESET (autovacuum_vacuum_scale_factor)`, `ALTER TABLE river.river_job SET (autovacuum_vacuum_scale_factor = 0.01)`,
			true, "of river.river_job waits until 20 % of its rows are dead", "ALTER TABLE river.river_job SET (autovacuum_vacuum_scale_factor = 0.01)",
		},
		{
			"job ids", `INSERT INTO activities (activity_id, user_id, date, ingest_job_id) VALUES (1, 1, '2025-01-01', 900)`, `DELETE FROM activities`,
			false, "job 900 stored an activity, and the newest id is 0", "worker migrate up",
		},
		{
			"writes", `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the disk is full'; END $$;
				CREATE TRIGGER refuse BEFORE INSERT ON worker_processes EXECUTE FUNCTION refuse()`, `DROP TRIGGER refuse ON worker_processes`,
			false, "the disk is full", "change the trigger or function that raises it",
		},
		{
			"writes", `ALTER TABLE worker_processes RENAME COLUMN beat_at TO beats_at`, `ALTER TABLE worker_processes RENAME COLUMN beats_at TO beat_at`,
			false, `column "beat_at" of relation "worker_processes" does not exist`, "the tables were changed after migrating: undo that",
		},
		{
			"migrations", `UPDATE worker_migrations SET is_applied = false WHERE version_id = (SELECT max(version_id) FROM worker_migrations)`, `UPDATE worker_migrations SET is_applied = true`,
			false, "the database is not migrated: worker tables at ", "run: worker migrate up",
		},
		{
			"migrations", `INSERT INTO worker_migrations (version_id, is_applied) VALUES (999, true)`, `DELETE FROM worker_migrations WHERE version_id = 999`,
			false, "(this version knows ", "deploy that version or a newer one",
		},
		{
			"migrations", `ALTER TABLE activities DROP COLUMN total_load_miles, ADD COLUMN total_load_miles real GENERATED ALWAYS AS (distance_miles * 2) STORED`,
			`ALTER TABLE activities ALTER COLUMN total_load_miles DROP EXPRESSION`,
			false, `column "total_load_miles" of activities is generated`, "ALTER TABLE activities ALTER COLUMN total_load_miles DROP EXPRESSION",
		},
		{
			"migrations", `ALTER TABLE activities ALTER COLUMN date TYPE text, ALTER COLUMN trimp TYPE double precision`,
			`ALTER TABLE activities ALTER COLUMN date TYPE date USING date::date, ALTER COLUMN trimp TYPE real USING trimp::real`,
			false, `column "date" of activities is text`, "ALTER TABLE activities ALTER COLUMN date TYPE date USING date::date; ALTER TABLE activities ALTER COLUMN trimp TYPE real USING trimp::real",
		},
		{
			"migrations", `ALTER TABLE activities DROP CONSTRAINT activities_pkey; INSERT INTO activities (activity_id, user_id, date) VALUES (1, 1, '2025-01-01'), (1, 1, '2025-01-02')`,
			`DELETE FROM activities; ALTER TABLE activities ADD PRIMARY KEY (activity_id)`,
			false, "activity_id alone is not unique in activities (values in several rows: 1, for example 1)", "then ALTER TABLE activities ADD PRIMARY KEY (activity_id)",
		},
	} {
		execute(t, pool, c.spoil)
		var found Finding
		for _, f := range Examine(t.Context(), pool, config.Default()) {
			if f.Check == c.check {
				found = f
			}
		}
		if found.OK != c.ok || !strings.Contains(found.About, c.about) || !strings.Contains(found.Cure, c.cure) || found.Why == "" || strings.Contains(found.About, c.cure) {
			t.Errorf("%s = %+v, want %q and %q", c.check, found, c.about, c.cure)
		}
		execute(t, pool, c.restore)
	}
}

// TestChecksThatFail: where the server does not answer, each finding says why that matters and
// what to do.
func TestChecksThatFail(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	settings := config.Default()
	_, slots := examineServer(t.Context(), pool, settings)
	findings := append(Examine(ctx, pool, settings),
		examinePrivileges(ctx, pool, settings), examineWrites(ctx, pool), examineWorkers(ctx, pool, slots, 26), examineJobIDs(ctx, pool, settings))
	for _, f := range append(findings, examineUpkeep(ctx, pool, settings)...) {
		if f.OK || f.About == "" || f.Why == "" || f.Cure == "" {
			t.Errorf("%+v, want a failure with what, why and cure", f)
		}
	}
}

// TestCures: what the server refuses is cured at its cause.
func TestCures(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]string{
		"42501": `as the owner of the tables: worker migrate up --worker-role "w"`,
		"42P01": "the tables were changed", "42703": "the tables were changed", "42883": "the tables were changed",
		"53100": "free space", "53200": "give the server more", "53300": "raise max_connections", "55P03": "pg_blocking_pids", "57014": "database.statement_timeout",
		"25006": "the primary", "28P01": "password", "3D000": "CREATE DATABASE", "P0001": "trigger", "23514": "constraint", "99999": "SQLSTATE 99999",
	} {
		if got := remedy(fmt.Errorf("try: %w", &pgconn.PgError{Code: state}), `"w"`); !strings.Contains(got, want) {
			t.Errorf("remedy(%s) = %q, want %q", state, got, want)
		}
	}
	for err, want := range map[error]string{io.ErrUnexpectedEOF: "DATABASE_URL", errors.New("a bug"): "the server's log"} {
		if got := remedy(err, `"w"`); !strings.Contains(got, want) {
			t.Errorf("remedy(%v) = %q, want %q", err, got, want)
		}
	}
}

// TestSettingsThatWereDropped: something between worker and server changed the
// session's settings.
func TestSettingsThatWereDropped(t *testing.T) {
	t.Parallel()
	o := dbtest.Options(dbtest.New(t))
	o.MaxConns = 1
	pool, err := dbpool.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	execute(t, pool, `SET lock_timeout = 0`)
	execute(t, pool, `SET DateStyle = 'German'`)
	execute(t, pool, `SET search_path = elsewhere`)
	f := examineSession(t.Context(), pool, direct)
	if f.OK || !strings.Contains(f.About, `lock_timeout is "0"`) || !strings.Contains(f.About, `DateStyle is "German, DMY", not "ISO, MDY"`) ||
		!strings.Contains(f.Cure, "SET lock_timeout = '") || !strings.HasSuffix(f.Cure, `SET search_path = "$user", public`) {
		t.Errorf("settings = %+v, want the differences", f)
	}
	if f := examineSession(t.Context(), pool, transactionPooler); !f.OK || !f.Warns() {
		t.Errorf("behind a pooler in transaction mode = %+v, want a warning", f)
	}
}

// TestVacuumHeldBack keeps a snapshot open, like a long report or a forgotten session.
func TestVacuumHeldBack(t *testing.T) {
	t.Parallel()
	pool := dbtest.Open(t, dbtest.New(t))
	tx, err := pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	var pid int
	if err := tx.QueryRow(t.Context(), `SELECT pg_backend_pid()`).Scan(&pid); err != nil {
		t.Fatal(err)
	}
	cure := fmt.Sprintf("SELECT pg_terminate_backend(%d)", pid)
	if got := examineVacuum(t.Context(), pool, 0); !got.OK || !strings.Contains(got.Cure, cure) || got.Why == "" {
		t.Errorf("vacuum = %+v, want %s", got, cure)
	}
	if got := examineVacuum(t.Context(), pool, time.Hour); !strings.Contains(got.About, "held back by nothing") {
		t.Errorf("vacuum = %+v, want no snapshot older than an hour", got)
	}
}

// TestVacuumIsHidden: a role that does not see the sessions of others is not said to be
// held back by nothing.
func TestVacuumIsHidden(t *testing.T) {
	t.Parallel()
	const grant = `GRANT pg_read_all_stats TO "Worker"`
	if got := aboutVacuum(admin.Vacuum{HiddenFrom: `"Worker"`}, time.Minute); !got.Warns() || !strings.Contains(got.About, `nothing that role "Worker" sees`) || got.Why == "" || !strings.Contains(got.Cure, grant) {
		t.Errorf("vacuum = %+v, want a warning with %s", got, grant)
	}
	both := admin.Vacuum{HiddenFrom: `"Worker"`, Holders: []admin.VacuumHolder{{What: "replication slot old", Transactions: 200_000, Cure: "drop it"}}}
	if got := aboutVacuum(both, time.Minute); !got.Warns() || got.About != "held back by replication slot old for 200000 transactions" || !strings.Contains(got.Cure, "drop it; ") || !strings.Contains(got.Cure, grant) {
		t.Errorf("vacuum = %+v, want the slot and %s", got, grant)
	}
}

func TestAboutClock(t *testing.T) {
	t.Parallel()
	asked := time.Date(2025, 1, 1, 12, 0, 0, 0, time.UTC)
	answered := asked.Add(time.Second)
	for clock, want := range map[time.Time]string{
		asked.Add(500 * time.Millisecond): "within 2s",
		answered.Add(2 * time.Second):     "within 2s",
		answered.Add(5 * time.Minute):     "differ by 5m0s",
		asked.Add(-10 * time.Second):      "differ by 10s",
	} {
		if got := aboutClock(clock, asked, answered); !got.OK || !strings.Contains(got.About, want) {
			t.Errorf("at %v: %+v, want %s", clock, got, want)
		}
	}
}

// TestWhatStopsWork: a check fails if a worker could not work, and otherwise warns.
// Failures and warnings say why they matter and what to do.
func TestWhatStopsWork(t *testing.T) {
	t.Parallel()
	for want, findings := range map[string][]Finding{
		"fine":  {aboutVersion(14, 26, 26), aboutReading(false, false), aboutEncoding("UTF8"), aboutWorkers(2, 97, 26)},
		"warns": {aboutEncoding("LATIN1"), aboutWorkers(3, 97, 26)},
		"fails": {aboutVersion(13, 97, 26), aboutVersion(17, 25, 26), aboutReading(true, true), aboutReading(false, true)},
	} {
		for _, f := range findings {
			got := "fine"
			switch {
			case f.Err() != nil:
				got = "fails"
			case f.Warns():
				got = "warns"
			}
			if got != want || (want != "fine") != (f.Why != "" && f.Cure != "") {
				t.Errorf("%+v: %s, want %s", f, got, want)
			}
		}
	}
}
