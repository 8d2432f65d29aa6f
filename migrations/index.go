package migrations

import (
	"context"
	"database/sql"
)

// userDateIndexQuery finds a valid index whose leading columns are user_id and
// date, whatever the application called it.
const userDateIndexQuery = `
SELECT EXISTS (
	SELECT FROM pg_index i
	WHERE i.indrelid = 'activities'::regclass AND i.indisvalid AND i.indpred IS NULL
	  AND i.indkey[0] = (SELECT attnum FROM pg_attribute WHERE attrelid = i.indrelid AND attname = 'user_id')
	  AND i.indkey[1] = (SELECT attnum FROM pg_attribute WHERE attrelid = i.indrelid AND attname = 'date'))`

// createUserDateIndex builds the index that every window reads, unless the
// application has one. CONCURRENTLY, so that nobody's write waits for it; it
// therefore runs outside a transaction. What an interrupted build left behind
// is invalid and is dropped first.
func createUserDateIndex(ctx context.Context, db *sql.DB) error {
	var exists bool
	if err := db.QueryRowContext(ctx, userDateIndexQuery).Scan(&exists); err != nil || exists {
		return err
	}
	if _, err := db.ExecContext(ctx, `DROP INDEX CONCURRENTLY IF EXISTS activities_user_id_date_worker_idx`); err != nil {
		return err
	}
	_, err := db.ExecContext(ctx, `CREATE INDEX CONCURRENTLY activities_user_id_date_worker_idx ON activities (user_id, date)`)
	return err
}
