package athlete

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestLatestFollowsTheIndex: the walk from athlete to athlete neither scans nor sorts
// activities, whatever the statistics.
func TestLatestFollowsTheIndex(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	for _, fill := range []string{
		`INSERT INTO activities (activity_id, user_id, date, total_load_miles) SELECT u * 1000 + i, u, current_date - i, 5 FROM generate_series(1, 200) AS u, generate_series(0, 299) AS i`,
		`ANALYZE activities`,
	} {
		for name, q := range map[string]struct {
			sql  string
			args []any
			has  string
		}{
			"latest": {latestQuery, []any{int32(1000), 500, ActiveDays, "none"}, "Index Cond: (user_id < walked_1.user_id)"},
			"bounds": {boundsQuery, []any{int32(7)}, "->  Limit "}, // the first date ends the walk; versions word its condition differently
			"day":    {activitiesQuery, []any{int32(7), "2025-01-01", 200}, "Index Cond: ((user_id = 7) AND (date = "},
		} {
			rows, err := pool.Query(t.Context(), "EXPLAIN "+q.sql, q.args...)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if text := strings.Join(lines, "\n"); strings.Contains(text, "Seq Scan on activities") || !strings.Contains(text, "activities_user_id_date_worker_idx") || !strings.Contains(text, q.has) {
				t.Errorf("%s does not follow the index:\n%s", name, text)
			}
		}
		if _, err := pool.Exec(t.Context(), fill); err != nil {
			t.Fatal(err)
		}
	}
}
