package tokens

import (
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/test/dbtest"
)

// TestHotQueriesUseTheIndex: no query for one user scans the rows of all.
func TestHotQueriesUseTheIndex(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	if _, err := pool.Exec(t.Context(), `INSERT INTO user_tokens (user_id, access_token, refresh_token, expires_at) SELECT i, repeat('a', 90), repeat('r', 90), CASE WHEN i < 100 THEN i ELSE 1900000000 END FROM generate_series(1, 20000) i; ANALYZE`); err != nil {
		t.Fatal(err)
	}
	s := New(pool, nil, dbtest.RiverSchema)
	written := arrays([]*state{{row: row{userID: 1}}})
	for name, q := range map[string]struct {
		sql  string
		args []any
	}{
		"load":   {s.river.SQL(loadQuery), []any{[]int32{1, 2}}},
		"lock":   {s.river.SQL(lockQuery), []any{[]int32{1, 2}}},
		"lease":  {s.river.SQL(leaseQuery), []any{1}},
		"update": {s.river.SQL(updateQuery), written},
		"insert": {s.river.SQL(insertQuery), written},
		"rotate": {s.river.SQL(staleQuery), []any{"enc:v1:k:", 19_000, RotateBatch}},
		"due":    {dueIn(dbtest.RiverSchema), []any{time.Minute}},
		"reseal": {resealQuery, []any{[]int32{1}, []string{""}, []string{""}}},
	} {
		rows, err := pool.Query(t.Context(), "EXPLAIN "+q.sql, q.args...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if text := strings.Join(plan, "\n"); strings.Contains(text, "Seq Scan on user_tokens") {
			t.Errorf("%s scans the table:\n%s", name, text)
		}
	}
}
