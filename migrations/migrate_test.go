package migrations_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"

	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func execute(t *testing.T, pool *dbpool.Pool, sql string) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func text(t *testing.T, pool *dbpool.Pool, sql string) string {
	t.Helper()
	var s string
	if err := pool.QueryRow(t.Context(), sql).Scan(&s); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return s
}

func up(t *testing.T, pool *dbpool.Pool) migrations.Result {
	t.Helper()
	result, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestUpOnAnEmptyDatabase(t *testing.T) {
	t.Parallel()
	pool := dbtest.Open(t, dbtest.New(t))
	if err := migrations.Check(t.Context(), pool.Pool, dbtest.RiverSchema); !errors.Is(err, migrations.ErrUnmigrated) || !strings.Contains(err.Error(), "worker migrate up") {
		t.Errorf("Check of an empty database = %v, want ErrUnmigrated with the command to run", err)
	}
	if first := up(t, pool); len(first.Worker) < 3 || len(first.River) < 8 {
		t.Errorf("applied %+v", first)
	}
	if second := up(t, pool); len(second.Worker) != 0 || len(second.River) != 0 {
		t.Errorf("a second run applied %+v", second)
	}
	if err := migrations.Check(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Error(err)
	}
	if got := text(t, pool, `SELECT string_agg(indexdef, ';') FROM pg_indexes WHERE tablename = 'activities' AND indexdef LIKE '%(user_id, date)%'`); strings.Count(got, "INDEX") != 1 {
		t.Errorf("indexes on (user_id, date): %s", got)
	}
}

func TestUpBySeveralProcessesAtOnce(t *testing.T) {
	t.Parallel()
	url := dbtest.New(t)
	var wg sync.WaitGroup
	errs := make([]error, 5)
	for i := range errs {
		wg.Go(func() {
			pool, err := dbpool.Open(t.Context(), dbtest.Options(url))
			if err != nil {
				errs[i] = err
				return
			}
			defer pool.Close()
			_, errs[i] = migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// catalogQuery describes a table's original columns, indexes and rows.
const catalogQuery = `
SELECT concat_ws(E'\n',
	(SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)), ', ' ORDER BY attnum)
	 FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
	 WHERE attrelid = 'activities'::regclass AND attnum BETWEEN 1 AND 9 AND NOT attisdropped),
	(SELECT string_agg(indexdef, ', ' ORDER BY indexdef) FROM pg_indexes WHERE tablename = 'activities' AND indexname NOT LIKE '%_worker_idx'),
	(SELECT string_agg(concat_ws(' ', xmin, ctid, activity_id, user_id, date, strava_gear, notes), ', ' ORDER BY activity_id) FROM activities),
	(SELECT relfilenode FROM pg_class WHERE oid = 'activities'::regclass))`

func TestUpOnTheApplicationsTable(t *testing.T) {
	t.Parallel()
	pool := dbtest.Open(t, dbtest.New(t))
	execute(t, pool, `
		CREATE TABLE activities (activity_id bigint PRIMARY KEY, user_id integer, date date NOT NULL, strava_gear text DEFAULT 'none',
			notes text, total_load_miles real, average_speed_mph numeric(5,2), sport_type varchar(40), kudos integer NOT NULL DEFAULT 0);
		CREATE INDEX idx_activities_user_date ON activities (user_id, date);
		INSERT INTO activities SELECT i, 7, date '2025-01-01' + i, 'shoes', 'felt good', 5 FROM generate_series(1, 100) i;`)
	before := text(t, pool, catalogQuery)
	up(t, pool)
	if after := text(t, pool, catalogQuery); after != before {
		t.Errorf("migrating changed what was there:\n%s\nwas:\n%s", after, before)
	}
	for _, column := range []string{"trimp real", "ingest_job_id bigint", "trimp_calculation_method character varying(20)"} {
		name, _, _ := strings.Cut(column, " ")
		if got := text(t, pool, `SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'activities'::regclass AND attname = '`+name+`'`); got != column {
			t.Errorf("added column %q, want %q", got, column)
		}
	}
}

func TestUpRefusesWhatItWouldHaveToConvert(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ table, want string }{
		"text date": {
			`activities (activity_id bigint PRIMARY KEY, user_id integer, date text)`,
			`ALTER TABLE activities ALTER COLUMN date TYPE date USING date::date`,
		},
		"double results": {
			`activities (activity_id bigint PRIMARY KEY, user_id integer, date date, acute_chronic_ratio double precision)`,
			`ALTER COLUMN acute_chronic_ratio TYPE real`,
		},
		"no key": {`activities (activity_id bigint, user_id integer, date date)`, `ADD PRIMARY KEY (activity_id)`},
		"partitions": {
			`activities (activity_id bigint, user_id integer, date date) PARTITION BY HASH (user_id)`,
			`activities is partitioned`,
		},
		"generated load": {
			`activities (activity_id bigint PRIMARY KEY, user_id integer, date date, miles real, total_load_miles real GENERATED ALWAYS AS (miles * 2) STORED)`,
			`ALTER COLUMN total_load_miles DROP EXPRESSION`,
		},
		"generated date": {
			`activities (activity_id bigint PRIMARY KEY, user_id integer, day date, date date GENERATED ALWAYS AS (day + 1) STORED)`,
			`ALTER COLUMN date DROP EXPRESSION`,
		},
		"generated user": {
			`activities (activity_id bigint PRIMARY KEY, athlete integer, user_id integer GENERATED ALWAYS AS (athlete + 1) STORED, date date)`,
			`ALTER COLUMN user_id DROP EXPRESSION`,
		},
		"generated id": {
			`activities (activity_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id integer, date date)`,
			`ALTER COLUMN activity_id SET GENERATED BY DEFAULT`,
		},
		"outside the search_path": {
			`app.activities (activity_id bigint PRIMARY KEY, user_id integer, date date)`,
			`SET search_path = "app", public`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := dbtest.Open(t, dbtest.New(t))
			execute(t, pool, `CREATE SCHEMA app; CREATE TABLE `+c.table)
			_, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema)
			if !errors.Is(err, migrations.ErrIncompatible) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Up = %v, want ErrIncompatible with %q", err, c.want)
			}
			if _, err := migrations.Plan(t.Context(), pool.Pool, dbtest.RiverSchema); !errors.Is(err, migrations.ErrIncompatible) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Plan = %v, want ErrIncompatible with %q", err, c.want)
			}
			if got := text(t, pool, `SELECT count(*)::text FROM pg_class WHERE relname IN ('river_job', 'ingest_rejects')`); got != "0" {
				t.Error("a refused database was changed")
			}
		})
	}
}

// TestGeneratedColumnsAreReplaced follows the advice on columns that are computed when
// they are written, and, where PostgreSQL has them, when they are read.
func TestGeneratedColumnsAreReplaced(t *testing.T) {
	t.Parallel()
	pool := dbtest.Open(t, dbtest.New(t))
	kinds := []string{"STORED"}
	if text(t, pool, `SELECT (current_setting('server_version_num')::int >= 180000)::text`) == "true" {
		kinds = append(kinds, "VIRTUAL")
	}
	for _, kind := range kinds {
		pool := dbtest.Open(t, dbtest.New(t))
		execute(t, pool, `CREATE TABLE activities (activity_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id integer, date date, miles real,
			total_load_miles real GENERATED ALWAYS AS (miles * 2) `+kind+`);
			INSERT INTO activities (user_id, date, miles) VALUES (7, '2025-01-01', 4)`)
		faults, err := migrations.FindFaults(t.Context(), pool)
		if err != nil || len(faults) != 2 {
			t.Fatalf("faults with a %s column = %v, %v, want two", kind, faults, err)
		}
		for _, f := range faults {
			execute(t, pool, f.Cure)
		}
		up(t, pool)
		execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, total_load_miles) VALUES (12000000001, 7, '2025-01-02', 5)`)
		if got := text(t, pool, `SELECT string_agg(total_load_miles::text, ' ' ORDER BY date) FROM activities`); got != "8 5" {
			t.Errorf("loads after a %s column was replaced: %s, want those that were computed", kind, got)
		}
	}
}

// TestAdviceOnKeys follows the advice on keys of each kind, after the rows in its way were
// corrected. A worker then works with the table.
func TestAdviceOnKeys(t *testing.T) {
	t.Parallel()
	const row, other = `INSERT INTO activities (activity_id, user_id, date) VALUES (1, 7, '2025-01-01'), (2, 7, '2025-01-02');`,
		`INSERT INTO activities (activity_id, user_id, date) VALUES (3, 7, '2025-01-03'), (2, 7, '2025-01-04'), (3, 7, '2025-01-04'), (NULL, 7, '2025-01-05');`
	const unique, primary = `CREATE UNIQUE INDEX CONCURRENTLY ON activities (activity_id)`, `ALTER TABLE activities ADD PRIMARY KEY (activity_id)`
	for name, c := range map[string]struct{ columns, rows, about, inTheWay, cure string }{
		"none":         {`activity_id bigint`, row, "activity_id alone is not unique in activities", "", primary},
		"another":      {`id bigserial PRIMARY KEY, activity_id bigint`, row, "alone is not unique", "", unique},
		"more columns": {`activity_id bigint, PRIMARY KEY (user_id, activity_id)`, row, "alone is not unique", "", unique},
		"another without default": {
			`id text PRIMARY KEY, activity_id bigint`, "", "alone is not unique", "",
			unique + `; ALTER TABLE activities ALTER COLUMN "id" SET DEFAULT …, because the worker does not write it`,
		},
		"deferrable": {
			`activity_id bigint PRIMARY KEY DEFERRABLE`, row, "the constraint \"activities_pkey\" on activity_id of activities is deferrable", "",
			`ALTER TABLE activities DROP CONSTRAINT "activities_pkey", ADD PRIMARY KEY (activity_id)`,
		},
		"another and deferrable": {
			`id bigserial PRIMARY KEY, activity_id bigint CONSTRAINT "once each" UNIQUE DEFERRABLE`, row, `the constraint "once each" on activity_id of activities is deferrable`, "",
			`ALTER TABLE activities DROP CONSTRAINT "once each", ADD UNIQUE (activity_id)`,
		},
		"duplicates and NULLs": {
			`activity_id bigint`, row + other, "alone is not unique in activities (values in several rows: 2, for example 2; rows where it is NULL: 1)",
			"leave one row of each (SELECT * FROM activities WHERE activity_id = '2'); give the rows without activity_id one or delete them (SELECT * FROM activities WHERE activity_id IS NULL); then ", primary,
		},
		"deferrable with NULLs": {
			`activity_id bigint UNIQUE DEFERRABLE`, row + `INSERT INTO activities (user_id, date) VALUES (7, '2025-01-05'), (7, '2025-01-06')`, "is deferrable, which ON CONFLICT refuses (rows where it is NULL: 2)",
			"give the rows without activity_id one or delete them (SELECT * FROM activities WHERE activity_id IS NULL); then ",
			`ALTER TABLE activities DROP CONSTRAINT "activities_activity_id_key", ADD UNIQUE (activity_id)`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := dbtest.Open(t, dbtest.New(t))
			execute(t, pool, `CREATE TABLE activities (user_id integer, date date, `+c.columns+`); `+c.rows)
			faults, err := migrations.FindFaults(t.Context(), pool)
			if err != nil || len(faults) != 1 || !strings.Contains(faults[0].About, c.about) || faults[0].Cure != c.inTheWay+c.cure {
				t.Fatalf("faults = %q, %v, want one: %q and %q", faults, err, c.about, c.inTheWay+c.cure)
			}
			execute(t, pool, `DELETE FROM activities AS a USING activities AS b WHERE a.activity_id IS NULL OR a.activity_id = b.activity_id AND a.ctid > b.ctid`)
			for statement := range strings.SplitSeq(strings.Replace(c.cure, `…, because the worker does not write it`, `gen_random_uuid()`, 1), "; ") {
				execute(t, pool, statement)
			}
			up(t, pool)
			for _, miles := range []string{"7.5", "8.5"} {
				execute(t, pool, `SELECT river.enqueue_activity_ingest('[{"activity_id": 9, "user_id": 7, "date": "2025-01-09", "total_load_miles": `+miles+`}]'),
					river.enqueue_acwr_recalc(7, '2025-01-01', '2025-01-09')`)
				if err := newService(t, pool).Drain(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if got := text(t, pool, `SELECT string_agg(total_load_miles::text, ' ') FROM activities WHERE activity_id = 9`); got != "8.5" {
				t.Errorf("the ingested and edited activity has %s miles, want 8.5", got)
			}
			checkOracle(t, pool)
		})
	}
}

// TestTableWithoutTheKeysColumn: a key cannot be added on a column that does not exist.
func TestTableWithoutTheKeysColumn(t *testing.T) {
	t.Parallel()
	pool := dbtest.Open(t, dbtest.New(t))
	execute(t, pool, `CREATE TABLE activities (id bigint PRIMARY KEY, user_id integer, date date)`)
	_, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema)
	if want := `activities has no column activity_id`; !errors.Is(err, migrations.ErrIncompatible) || !strings.Contains(err.Error(), want) {
		t.Errorf("Up = %v, want ErrIncompatible with %q", err, want)
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	t.Parallel()
	for name, newer := range map[string]string{
		"worker": `INSERT INTO worker_migrations (version_id, is_applied) VALUES (999, true)`,
		"river":  `INSERT INTO river.river_migration (line, version) VALUES ('main', 999)`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := dbtest.Migrated(t)
			execute(t, pool, newer)
			if err := migrations.Check(t.Context(), pool.Pool, dbtest.RiverSchema); !errors.Is(err, migrations.ErrNewer) {
				t.Errorf("Check = %v, want ErrNewer", err)
			}
			if _, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema); !errors.Is(err, migrations.ErrNewer) {
				t.Errorf("Up = %v, want ErrNewer", err)
			}
		})
	}
}

// TestSeriesIsReplaced: a view that uses acwr_series prevents it and is named; without
// the view the migrations apply, even a second time.
func TestSeriesIsReplaced(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `CREATE VIEW dashboard AS SELECT * FROM acwr_series(7, '2025-01-01', '2025-01-31')`)
	execute(t, pool, `DELETE FROM worker_migrations WHERE version_id >= 15`)
	if _, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema); err == nil || !strings.Contains(err.Error(), "is used by the views dashboard: drop them") {
		t.Errorf("Up under a view = %v, want it named", err)
	}
	execute(t, pool, `DROP VIEW dashboard`)
	files, err := filepath.Glob("templates/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, file := range files {
		if name := filepath.Base(file); name >= "00015" {
			want = append(want, name)
		}
	}
	if again := up(t, pool); len(want) < 2 || !slices.Equal(again.Worker, want) {
		t.Errorf("without the view %v was applied, want %v", again.Worker, want)
	}
}

// TestQueueIsVacuumedEarly: migrating sets when autovacuum vacuums the queue's table,
// and keeps an operator's own settings.
func TestQueueIsVacuumedEarly(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	const settings = `SELECT array_to_string(ARRAY(SELECT unnest(reloptions) ORDER BY 1), ' ') FROM pg_class WHERE oid = 'river.river_job'::regclass`
	const chosen = "autovacuum_analyze_scale_factor=0.02 autovacuum_vacuum_insert_scale_factor=0.05 autovacuum_vacuum_scale_factor=0.01"
	if got := text(t, pool, settings); got != chosen {
		t.Errorf("settings of the queue's table: %s, want %s", got, chosen)
	}
	execute(t, pool, `ALTER TABLE river.river_job RESET (autovacuum_analyze_scale_factor), SET (autovacuum_vacuum_scale_factor = 0.5)`)
	execute(t, pool, `DELETE FROM worker_migrations WHERE version_id >= 24`)
	up(t, pool)
	if got, want := text(t, pool, settings), strings.Replace(chosen, "0.01", "0.5", 1); got != want {
		t.Errorf("settings with an operator's own: %s, want %s", got, want)
	}
}

// TestLeftoversOfReindexing interrupts REINDEX CONCURRENTLY by a lock timeout;
// migrating drops the index that it left behind.
func TestLeftoversOfReindexing(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	holder, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), `LOCK TABLE river.river_job IN ROW SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	interrupt, err := pgx.Connect(t.Context(), pool.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = interrupt.Close(context.WithoutCancel(t.Context())) }()
	for _, statement := range []string{`SET lock_timeout = '200ms'`, `REINDEX INDEX CONCURRENTLY river.river_job_prioritized_fetching_index`} {
		_, err = interrupt.Exec(t.Context(), statement)
	}
	if err == nil {
		t.Fatal("reindexing did not wait for an older transaction")
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	broken, err := migrations.BrokenIndexes(t.Context(), pool.Pool, dbtest.RiverSchema)
	if err != nil || len(broken) != 1 || !broken[0].Leftover || !strings.HasPrefix(broken[0].Name, "river.river_job_prioritized_fetching_index_cc") {
		t.Fatalf("broken indexes %+v, %v", broken, err)
	}
	result, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema)
	if err != nil || len(result.DroppedIndexes) != 1 {
		t.Fatalf("migrating dropped %v, %v", result.DroppedIndexes, err)
	}
	if broken, err := migrations.BrokenIndexes(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil || len(broken) > 0 {
		t.Errorf("afterwards %+v, %v", broken, err)
	}
}
