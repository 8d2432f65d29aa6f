package main

import (
	"encoding/json"
	"testing"

	"github.com/trainingmonkey/worker/internal/athlete"
)

func TestCompare(t *testing.T) {
	pool := migrated(t)
	stored(t, pool)
	compare := func(args ...string) (r athlete.Comparison) {
		t.Helper()
		got := enqueue(t, append([]string{"acwr", "--compare", "--json"}, args...)...)
		got.want(t, 0)
		if err := json.Unmarshal([]byte(got.stdout), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := compare(); r.Rows != 3 || r.Differing != 1 || r.Missing != 1 || r.Columns[4] != (athlete.ComparedColumn{Name: "acute_chronic_ratio", Rows: 1, Missing: 1}) || r.Examples[0].Stored != nil {
		t.Errorf("before the last row is computed: %+v, want one missing and no difference", r)
	}
	enqueue(t, "acwr", "--compare").want(t, 0, "COLUMN                     ROWS  NEVER COMPUTED  LARGEST DIFFERENCE", "acute_chronic_ratio           1               1                   -")
	working(t, pool)
	enqueue(t, "backfill", "--wait").want(t, 0)
	enqueue(t, "acwr", "--compare").want(t, 0, "no difference in 3 rows")
	enqueue(t, "acwr", "--compare", "--user", "8").want(t, 0, "no difference in 0 rows")

	r := compare("--formula", "uncoupled")
	if r.Differing != 3 || r.Missing != 0 || r.Columns[0].Rows != 0 || r.Columns[1].Rows != 3 || r.Columns[0].Largest != nil || *r.Columns[1].Largest != float64(float32(7.25)/28) || *r.Columns[4].Largest != 4 {
		t.Errorf("against uncoupled: %+v, want other chronic loads by up to 7.25/28 and ratios by up to 4", r)
	}
	if r := compare("--rounding", "app"); r.Differing != 3 || r.Columns[1].Rows != 3 || r.Columns[4].Rows == 0 {
		t.Errorf("against the application's rounding: %+v, want every row to differ", r)
	}

	// One injected wrong value is found exactly.
	if _, err := pool.Exec(t.Context(), `UPDATE activities SET acute_chronic_ratio = acute_chronic_ratio + 0.25 WHERE activity_id = 2`); err != nil {
		t.Fatal(err)
	}
	r = compare("--user", "7")
	if r.Differing != 1 || r.Columns[4].Rows != 1 || *r.Columns[4].Largest != 0.25 || *r.Examples[0].ActivityID != 2 || *r.Examples[0].Stored != 4.25 || r.Examples[0].WouldBe != 4 {
		t.Errorf("with an injected difference: %+v", r)
	}
	enqueue(t, "acwr", "--compare").want(t, 0, "1 of 3 rows differs, 0 of them never computed", "acute_chronic_ratio           1               0                0.25")
}

func TestCompareUsage(t *testing.T) {
	t.Setenv("DATABASE_URL", nowhere)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--compare", "--formula", "median", "--chronic-days", "7"}, `formula must be standard, uncoupled, ewma or decay, got "median"`},
		{[]string{"--compare", "--chronic-days", "42"}, "need --formula"},
		{[]string{"--compare", "--rounding", "up"}, `rounding must be none or app, got "up"`},
		{[]string{"--compare", "--all"}, "--compare takes no --all"},
		{[]string{"--compare", "--from", "2025-01-01"}, "--compare takes no --from"},
		{[]string{"--compare", "--doubles", "ignore"}, `doubles must be count or ignore-later, got "ignore"`},
		{[]string{"--user", "7", "--doubles", "count"}, "--doubles needs --compare"},
		{[]string{"--user", "7", "--formula", "ewma"}, "--formula needs --compare"},
	} {
		enqueue(t, append([]string{"acwr"}, c.args...)...).want(t, 2, c.want)
	}
}
