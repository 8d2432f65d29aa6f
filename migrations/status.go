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

// withCure adds to an error how to grant missing privileges.
func withCure(err error) error {
	if dbpool.SQLState(err) == dbpool.InsufficientPrivilege {
		return fmt.Errorf("%w; as the owner of the tables: worker migrate up --worker-role ROLE", err)
	}
	return err
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
// otherwise an error that wraps ErrUnmigrated or ErrNewer and says what to do.
func Check(ctx context.Context, pool *pgxpool.Pool, riverSchema string) error {
	s, err := GetStatus(ctx, pool, riverSchema)
	if err := cmp.Or(err, s.newer()); err != nil {
		return err
	}
	if s.Worker.Pending() || s.River.Pending() {
		return fmt.Errorf("%w: worker tables at %d of %d, river tables at %d of %d; run: worker migrate up",
			ErrUnmigrated, s.Worker.Current, s.Worker.Newest, s.River.Current, s.River.Newest)
	}
	return nil
}

func (s Status) newer() error {
	if s.Worker.Unknown() || s.River.Unknown() {
		return fmt.Errorf("%w: worker tables at %d (this version knows %d), river tables at %d (knows %d); deploy that version or a newer one",
			ErrNewer, s.Worker.Current, s.Worker.Newest, s.River.Current, s.River.Newest)
	}
	return nil
}
