package admin

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestRowsWithoutResults: a small table is counted, a large one estimated without a scan.
func TestRowsWithoutResults(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `ALTER TABLE activities SET (autovacuum_enabled = off)`)
	fill := `INSERT INTO activities (activity_id, user_id, date, acute_chronic_ratio) SELECT i, 7, '2025-01-01', CASE WHEN i % 4 = 0 THEN 1 END FROM generate_series($1::int, $2::int) AS i`
	execute(t, pool, fill, 1, 80)
	if w := read(t, pool).Writing; w.Mode != WriteUnknown || w.RowsWithout != 60 || w.About != "" || w.Rows() != "60 rows have no results." {
		t.Errorf("of 80 rows: %+v, %s", w, w.Rows())
	}
	execute(t, pool, fill, 81, 30_000)
	if w := read(t, pool).Writing; w.RowsWithout < 7_400 || w.About == "" {
		t.Errorf("of 30,000 rows before they were analyzed: %+v, want a lower bound or an estimate, labelled as one", w)
	}
	execute(t, pool, `ANALYZE activities`)
	if w := read(t, pool).Writing; w.RowsWithout < 21_500 || w.RowsWithout > 23_500 || w.About != "about" {
		t.Errorf("of 30,000 rows: %+v, want about 22,500", w)
	}
	execute(t, pool, `UPDATE activities SET acute_chronic_ratio = 1`)
	execute(t, pool, `VACUUM ANALYZE activities`)
	if w := read(t, pool).Writing; w.RowsWithout != 0 || w.Rows() != "" {
		t.Errorf("of 30,000 rows with results: %+v", w)
	}
}

// TestRowsThatNeverGetResults: rows without a user or a finite date are not counted, and those
// without a user or a date not estimated either.
func TestRowsThatNeverGetResults(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `ALTER TABLE activities ALTER COLUMN user_id DROP NOT NULL, ALTER COLUMN date DROP NOT NULL`)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date) VALUES (1, NULL, '2025-01-01'), (2, 7, NULL), (3, 7, '-infinity'), (4, 7, 'infinity'), (5, NULL, NULL)`)
	if w := read(t, pool).Writing; w.RowsWithout != 0 || w.Rows() != "" {
		t.Errorf("of rows that never get results: %+v", w)
	}
	execute(t, pool, `DELETE FROM activities WHERE NOT isfinite(date)`)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date) VALUES (6, 7, '2025-01-01')`)
	if w := read(t, pool).Writing; w.RowsWithout != 1 {
		t.Errorf("with a row that gets them: %+v", w)
	}
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, acute_chronic_ratio)
		SELECT i, CASE WHEN i % 50 > 0 THEN 7 END, CASE WHEN i % 50 < 49 THEN date '2020-01-01' + i % 1000 END, CASE WHEN i % 50 BETWEEN 1 AND 48 THEN 1 END FROM generate_series(101, 30100) AS i`)
	execute(t, pool, `VACUUM ANALYZE activities`)
	// Of 600 rows without a user and 600 without a date PostgreSQL expects that some are the same.
	if w := read(t, pool).Writing; w.RowsWithout > 20 {
		t.Errorf("of 30,000 rows, 1,200 of which never get results: %+v", w)
	}
	execute(t, pool, `UPDATE activities SET acute_chronic_ratio = NULL WHERE activity_id % 4 = 0`)
	execute(t, pool, `VACUUM ANALYZE activities`)
	if w := read(t, pool).Writing; w.RowsWithout < 6_700 || w.RowsWithout > 7_700 || w.About != "about" {
		t.Errorf("of 30,000 rows: %+v, want about 7,200", w)
	}
}

// TestCountOfRowsWithoutResultsIsBounded: where every row has results, no more rows are read
// than where none has.
func TestCountOfRowsWithoutResultsIsBounded(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, `INSERT INTO activities (activity_id, user_id, date, acute_chronic_ratio) SELECT i, 7, '2025-01-01', 1 FROM generate_series(1, 30000) AS i`)
	rows, err := pool.Query(t.Context(), `EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) `+withoutResultsQuery, maxCounted+1)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if plan := strings.Join(lines, "\n"); !strings.Contains(plan, "on activities (actual rows=10001") || strings.Contains(plan, "Removed") {
		t.Errorf("the count reads more than %d rows:\n%s", maxCounted+1, plan)
	}
}

// TestNoticeOfRowsWithoutResults: if everything is written, rows without results need a
// backfill, unless jobs are still waiting.
func TestNoticeOfRowsWithoutResults(t *testing.T) {
	t.Parallel()
	on, all := WriteOn, 100
	s := Snapshot{
		Processes: []Process{{Alive: true, Write: &on, RolloutPercent: &all}}, Freshness: []Freshness{{Lane: "live"}, {Lane: "bulk"}},
		Writing: Writing{Mode: on, RolloutPercent: &all, RowsWithout: 1},
	}
	findings := s.Findings()
	if len(findings) != 1 || findings[0] != (Finding{Severity: Notice, What: "1 row has no results.", Do: "Have them computed: enqueue backfill."}) {
		t.Errorf("findings = %v", findings)
	}
	if got, want := s.Headline(findings), (Headline{"", "Fresh", "No job waits. 1 row has no results."}); got != want {
		t.Errorf("headline = %+v, want %+v", got, want)
	}
	s.Freshness[0].Waiting = 1
	if got := s.Findings(); len(got) != 0 {
		t.Errorf("findings while a job waits = %v", got)
	}
}
