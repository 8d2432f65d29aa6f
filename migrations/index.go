package migrations

import (
	"context"
	"database/sql"
)

// foundIndexQuery finds a valid index whose leading columns are user_id and
// date, whatever the application called it; NULL when there is none.
const foundIndexQuery = `
SELECT min(i.indexrelid::regclass::text) FROM pg_index i
WHERE i.indrelid = to_regclass('activities') AND i.indisvalid AND i.indpred IS NULL
  AND i.indkey[0] = (SELECT attnum FROM pg_attribute WHERE attrelid = i.indrelid AND attname = 'user_id')
  AND i.indkey[1] = (SELECT attnum FROM pg_attribute WHERE attrelid = i.indrelid AND attname = 'date')`

// userDateIndex is what the index is called if migrating builds it.
const userDateIndex = "activities_user_id_date_worker_idx"

// createUserDateIndex builds the index that every window reads, unless the
// application has one. CONCURRENTLY, so that nobody's write waits for it; it
// therefore runs outside a transaction, and may wait for locks as long as it
// takes: it waits for transactions to end and nobody waits for it. What an
// interrupted build left behind is invalid and is dropped first.
func createUserDateIndex(ctx context.Context, db *sql.DB) error {
	var found sql.NullString
	if err := db.QueryRowContext(ctx, foundIndexQuery).Scan(&found); err != nil || found.Valid {
		return err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for _, statement := range []string{
		`SET lock_timeout = 0`,
		`DROP INDEX CONCURRENTLY IF EXISTS ` + userDateIndex,
		`CREATE INDEX CONCURRENTLY ` + userDateIndex + ` ON activities (user_id, date)`,
		`SET lock_timeout = ` + lockTimeout,
	} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
