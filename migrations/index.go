package migrations

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/trainingmonkey/worker/dbpool"
)

// foundIndexQuery returns the name of a valid index whose leading columns are
// user_id and date, NULL if there is none.
const foundIndexQuery = `
-- name: index_found
SELECT min(i.indexrelid::regclass::text) FROM pg_index i
WHERE i.indrelid = to_regclass('activities') AND i.indisvalid AND i.indpred IS NULL
  AND i.indkey[0] = (SELECT attnum FROM pg_attribute WHERE attrelid = i.indrelid AND attname = 'user_id')
  AND i.indkey[1] = (SELECT attnum FROM pg_attribute WHERE attrelid = i.indrelid AND attname = 'date')`

// userDateIndex is the name of the index if a migration builds it.
const userDateIndex = "activities_user_id_date_worker_idx"

// createUserDateIndex builds the index that every window reads, unless the
// application has one.
func createUserDateIndex(ctx context.Context, db *sql.DB) error {
	var found sql.NullString
	if err := db.QueryRowContext(ctx, foundIndexQuery).Scan(&found); err != nil || found.Valid {
		return err
	}
	return buildConcurrently(ctx, db, builtIndex{name: userDateIndex, on: "activities (user_id, date)"})
}

// builtIndex is an index on a table of the application.
type builtIndex struct{ name, on string }

// tokenIndexes are for queries that run every few seconds. The first has tokens by the
// second in which they expire, with the queries' expressions, and separates users who
// have to authorize again; two partial indexes would not do, because the planner has no
// statistics on an expression that only partial indexes have. The second has the audit
// log by time, because the oldest rows are deleted first.
func tokenIndexes(riverSchema string) []builtIndex {
	return []builtIndex{
		{"user_tokens_expiry_worker_idx", inSchema("user_tokens (reauthorize_since, coalesce({schema}.token_expiry_seconds(expires_at), 0))", riverSchema)},
		{"token_audit_log_timestamp_worker_idx", "token_audit_log (timestamp)"},
	}
}

// versionIndex finds the newest stored version without reading the table. It
// takes a few bytes per hundred pages, and inserts hardly ever touch it.
var versionIndex = builtIndex{"activities_ingest_job_id_worker_idx", "activities USING brin (ingest_job_id) WITH (autosummarize = on)"}

// buildConcurrently builds indexes while the application writes, and therefore runs
// outside a transaction. It may wait for locks for any time, because no transaction waits
// for it. An invalid index, left by an interrupted build, is dropped first.
func buildConcurrently(ctx context.Context, db *sql.DB, indexes ...builtIndex) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	statements := []string{`SET lock_timeout = 0`}
	for _, index := range indexes {
		statements = append(statements, `DROP INDEX CONCURRENTLY IF EXISTS `+index.name, `CREATE INDEX CONCURRENTLY `+index.name+` ON `+index.on)
	}
	for _, statement := range append(statements, `SET lock_timeout = `+lockTimeout) {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// brokenIndexesQuery finds the invalid indexes of the queue and of activities
// that are not being built: every write maintains them and no read uses them.
// Names are quoted for use in statements. The second column reports whether an
// interrupted REINDEX CONCURRENTLY left the index behind.
const brokenIndexesQuery = `
-- name: broken_indexes
SELECT i.indexrelid::regclass::text, c.relname ~ '_cc(new|old)[0-9]*$'
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_class AS t ON t.oid = i.indrelid
WHERE NOT i.indisvalid AND (t.relnamespace = to_regnamespace($1) OR t.oid = to_regclass('activities'))
  AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index WHERE index_relid = i.indexrelid)
ORDER BY 1`

// BrokenIndex is an invalid index: writes maintain it and no read uses it.
type BrokenIndex struct {
	Name     string
	Leftover bool // of REINDEX CONCURRENTLY: the original index exists
}

// QueueBrokenIndexes queues the reading of the broken indexes of the queue and of
// activities.
func QueueBrokenIndexes(b *pgx.Batch, riverSchema string, broken *[]BrokenIndex) {
	b.Queue(brokenIndexesQuery, pgx.Identifier{riverSchema}.Sanitize()).Query(dbpool.Into(broken))
}

// BrokenIndexes lists the broken indexes of the queue and of activities.
func BrokenIndexes(ctx context.Context, pool *pgxpool.Pool, riverSchema string) ([]BrokenIndex, error) {
	return dbpool.Collect(ctx, pool, "find invalid indexes", pgx.RowToStructByPos[BrokenIndex], brokenIndexesQuery, pgx.Identifier{riverSchema}.Sanitize())
}

// dropLeftovers drops the indexes that interrupted reindexing left behind.
func dropLeftovers(ctx context.Context, pool *pgxpool.Pool, riverSchema string) (dropped []string, err error) {
	broken, err := BrokenIndexes(ctx, pool, riverSchema)
	if err != nil {
		return nil, err
	}
	for _, index := range broken {
		if !index.Leftover {
			continue
		}
		err := untilLocked(ctx, func() error {
			_, err := pool.Exec(ctx, `DROP INDEX CONCURRENTLY IF EXISTS `+index.Name)
			return err
		})
		if err != nil {
			return dropped, fmt.Errorf("drop invalid index %s: %w", index.Name, err)
		}
		dropped = append(dropped, index.Name)
	}
	return dropped, nil
}
