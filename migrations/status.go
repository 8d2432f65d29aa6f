package migrations

import (
	"cmp"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/trainingmonkey/worker/dbpool"
)

// Status compares a database with what this worker needs.
type Status struct {
	Worker Line `json:"worker"` // the numbered files
	River  Line `json:"river"`  // River's main line
}

// Line is one sequence of migrations: the database's version, 0 for none, and
// the newest that this worker knows.
type Line struct {
	Current int64 `json:"current"`
	Newest  int64 `json:"newest"`
}

// Pending reports whether migrations are missing.
func (l Line) Pending() bool { return l.Current < l.Newest }

// Unknown reports whether the database is ahead of this worker.
func (l Line) Unknown() bool { return l.Current > l.Newest }

// GetStatus reads the versions without changing anything.
func GetStatus(ctx context.Context, pool *pgxpool.Pool, riverSchema string) (Status, error) {
	var s Status
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: riverSchema})
	if err != nil {
		return s, err
	}
	known := migrator.AllVersions()
	s.River.Newest = int64(known[len(known)-1].Version)
	if err := checkUsage(ctx, pool, riverSchema, versionTable); err != nil {
		return s, err
	}
	schema := pgx.Identifier{riverSchema}.Sanitize()
	if s.River.Current, err = newestIn(ctx, pool, schema+".river_migration", "version", "line = 'main'"); err != nil {
		return s, fmt.Errorf("read river's migrations: %w", withCure(err))
	}
	if s.Worker.Current, err = newestIn(ctx, pool, versionTable, "version_id", "is_applied"); err != nil {
		return s, fmt.Errorf("read the worker's migrations: %w", withCure(err))
	}
	err = withProvider(pool, riverSchema, func(provider *goose.Provider) error {
		sources := provider.ListSources()
		s.Worker.Newest = sources[len(sources)-1].Version
		return nil
	})
	return s, err
}

// UnreadyError is why a worker cannot work with the tables as they are.
type UnreadyError struct {
	About string
	Why   string // it matters
	Cure  string // a command, or statements
	cause error  // nil if About says everything
}

func (e *UnreadyError) Error() string { return e.About + "; " + e.Cure }

// Unwrap returns ErrUnmigrated, ErrNewer, an error of the server or nil.
func (e *UnreadyError) Unwrap() error { return e.cause }

// withCure adds to an error how to grant missing privileges.
func withCure(err error) error {
	if dbpool.SQLState(err) == dbpool.InsufficientPrivilege {
		return &UnreadyError{err.Error(), "what needs them fails for every job", "as the owner of the tables: worker migrate up --worker-role ROLE", err}
	}
	return err
}

// schemaUsageQuery finds the schemas that the current role may not use: River's, and, of
// those in the search_path, the ones that have a table which the role does not find. Without
// USAGE on a schema of the search_path, its tables are not refused but missing. The catalog
// shows them to everyone.
const schemaUsageQuery = `
-- name: schema_usage
SELECT coalesce(string_agg(DISTINCT quote_ident(n.nspname), ', ' ORDER BY quote_ident(n.nspname)), ''), quote_ident(current_user)
FROM pg_namespace AS n
WHERE NOT has_schema_privilege(n.oid, 'USAGE')
  AND (n.nspname = $1
       OR to_regclass($2) IS NULL AND EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid AND relname = $2 AND relkind IN ('r', 'p'))
          AND n.nspname IN (
              SELECT CASE WHEN name IN ('"$user"', '$user') THEN current_user
                          WHEN name LIKE '"%' THEN replace(substr(name, 2, length(name) - 2), '""', '"')
                          ELSE lower(name) END
              FROM regexp_matches(current_setting('search_path'), '("(?:[^"]|"")*"|[^," ]+)', 'g') AS entry, unnest(entry) AS name))`

// checkUsage returns an *UnreadyError if the current role may not use River's schema, or the one
// of the search_path that has a table.
func checkUsage(ctx context.Context, db dbpool.Querier, riverSchema, table string) error {
	var schemas, role string
	if err := db.QueryRow(ctx, schemaUsageQuery, riverSchema, table).Scan(&schemas, &role); err != nil || schemas == "" {
		return err
	}
	grant := fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s", schemas, role)
	return &UnreadyError{
		fmt.Sprintf("role %s lacks USAGE on schema %s", role, schemas), "tables in it cannot be found, whatever privileges the role has on them",
		fmt.Sprintf("as its owner: %s; a worker's role gets all that it needs with: worker migrate up --worker-role %s", grant, role), nil,
	}
}

// newestIn returns the highest version in a table of migrations, 0 if the table does not
// exist, for which a plain query would fail. River's own function is not used, because it
// fails for versions that it does not know.
func newestIn(ctx context.Context, pool *pgxpool.Pool, table, column, condition string) (int64, error) {
	var exists bool
	if err := pool.QueryRow(ctx, "-- name: migrations_exist\nSELECT to_regclass($1) IS NOT NULL", table).Scan(&exists); err != nil || !exists {
		return 0, err
	}
	var version int64
	err := pool.QueryRow(ctx, fmt.Sprintf("-- name: migrations_version\nSELECT coalesce(max(%s) FILTER (WHERE %s), 0) FROM %s", column, condition, table)).Scan(&version)
	return version, err
}

// Check returns nil if the database is exactly at the versions that this worker needs,
// otherwise an *UnreadyError, unless the database cannot be asked.
func Check(ctx context.Context, pool *pgxpool.Pool, riverSchema string) error {
	s, err := GetStatus(ctx, pool, riverSchema)
	if err := cmp.Or(err, s.newer()); err != nil {
		return err
	}
	if s.Worker.Pending() || s.River.Pending() {
		return &UnreadyError{
			fmt.Sprintf("%v: worker tables at %d of %d, river tables at %d of %d", ErrUnmigrated, s.Worker.Current, s.Worker.Newest, s.River.Current, s.River.Newest),
			"jobs that need what is missing fail", "run: worker migrate up", ErrUnmigrated,
		}
	}
	return nil
}

func (s Status) newer() error {
	if s.Worker.Unknown() || s.River.Unknown() {
		return &UnreadyError{
			fmt.Sprintf("%v: worker tables at %d (this version knows %d), river tables at %d (knows %d)", ErrNewer, s.Worker.Current, s.Worker.Newest, s.River.Current, s.River.Newest),
			"this version may misread what the newer one stores", "deploy that version or a newer one", ErrNewer,
		}
	}
	return nil
}
