// Package migrations migrates a database to what this worker needs: the tables
// in templates/, numbered and embedded, and River's in a schema of their own.
//
// Rule: migrations only go forward, and nothing that the application created is
// dropped, retyped or rewritten. Several processes may migrate at once: one
// does, and the others wait for it and then find nothing to do.
package migrations

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/trainingmonkey/worker/dbpool"
)

// files are the numbered migrations. They name River's schema as {schema} or, in
// quotes, {schema_literal}, and the schema of our own tables as {here}.
//
//go:embed templates/*.sql
var files embed.FS

// versionTable is the table of applied migrations.
const versionTable = "worker_migrations"

// Migrations that build indexes on the application's tables, which is not
// possible inside a transaction.
const (
	indexVersion        = 3
	tokenIndexesVersion = 12
	versionIndexVersion = 14
)

// goNames are the names of these migrations.
var goNames = map[int64]string{
	indexVersion: "00003_user_date_index", tokenIndexesVersion: "00012_token_indexes", versionIndexVersion: "00014_version_index",
}

// Result says what a run of Up applied.
type Result struct {
	Worker []string // file names, and names of migrations in Go
	River  []int    // versions of River's main line
	// DroppedIndexes are invalid indexes that interrupted reindexing had left behind.
	DroppedIndexes []string
}

// Up applies everything that is missing. The pool's role needs CREATE on the
// database (for River's schema) and on the current schema.
func Up(ctx context.Context, pool *pgxpool.Pool, riverSchema string) (Result, error) {
	var result Result
	err := exclusively(ctx, pool, func(unlimited *pgxpool.Pool, conn *pgx.Conn) error {
		if err := checkExisting(ctx, conn); err != nil {
			return err
		}
		status, err := GetStatus(ctx, unlimited, riverSchema)
		if err := cmp.Or(err, status.newer()); err != nil {
			return err
		}
		if err := upRiver(ctx, unlimited, riverSchema, &result); err != nil {
			return err
		}
		if err := upWorker(ctx, unlimited, riverSchema, &result); err != nil {
			return err
		}
		if len(result.Worker) > 0 {
			if err := renewCapture(ctx, conn, riverSchema); err != nil {
				return fmt.Errorf("change capture: %w", err)
			}
		}
		result.DroppedIndexes, err = dropLeftovers(ctx, unlimited, riverSchema)
		return err
	})
	if err != nil {
		return result, fmt.Errorf("migrate: %w", err)
	}
	return result, nil
}

// lockTimeout is how long a statement that changes a table may wait for the transactions
// that use it, in milliseconds.
const lockTimeout = "100"

func untilLocked(ctx context.Context, migrate func() error) error {
	return dbpool.UntilLocked(ctx, time.Minute, migrate)
}

// unlimitedPool returns a pool to the same database without a statement timeout,
// because a migration may take any time. Its waits for locks are short, and repeated by
// dbpool.UntilLocked.
func unlimitedPool(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Pool, error) {
	config := pool.Config()
	config.MaxConns, config.MinIdleConns = 2, 0
	before, unlimit := config.ConnConfig.AfterConnect, dbpool.Set(map[string]string{"statement_timeout": "0", "lock_timeout": lockTimeout})
	config.ConnConfig.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if before != nil {
			if err := before(ctx, conn); err != nil {
				return err
			}
		}
		return unlimit(ctx, conn)
	}
	config.ConnConfig.DialFunc = dbpool.PlainDialer().DialContext
	return pgxpool.NewWithConfig(ctx, config)
}

// createSchema creates a schema if it does not exist. CREATE SCHEMA IF NOT
// EXISTS would require CREATE on the database even for an existing schema.
func createSchema(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	name := pgx.Identifier{schema}.Sanitize()
	var exists bool
	if err := pool.QueryRow(ctx, `SELECT to_regnamespace($1) IS NOT NULL`, name).Scan(&exists); err != nil || exists {
		return err
	}
	if _, err := pool.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+name); err != nil {
		role := pgx.Identifier{pool.Config().ConnConfig.User}.Sanitize()
		return fmt.Errorf("create schema %s (somebody who may can do it before: CREATE SCHEMA %s AUTHORIZATION %s): %w", schema, name, role, err)
	}
	return nil
}

func upRiver(ctx context.Context, pool *pgxpool.Pool, schema string, result *Result) error {
	if err := createSchema(ctx, pool, schema); err != nil {
		return err
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: schema})
	if err != nil {
		return err
	}
	one := &rivermigrate.MigrateOpts{MaxSteps: 1} // so that the applied versions are known if the next one has to wait
	for applied := true; applied; {
		err := untilLocked(ctx, func() error {
			done, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, one)
			if err != nil {
				return err
			}
			applied = len(done.Versions) > 0
			for _, v := range done.Versions {
				result.River = append(result.River, v.Version)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("river's tables: %w", err)
		}
	}
	return nil
}

func upWorker(ctx context.Context, pool *pgxpool.Pool, riverSchema string, result *Result) error {
	return withProvider(pool, riverSchema, func(provider *goose.Provider) error {
		return untilLocked(ctx, func() error {
			results, err := provider.Up(ctx)
			if partial := (*goose.PartialError)(nil); errors.As(err, &partial) {
				results = partial.Applied
			}
			for _, r := range results {
				result.Worker = append(result.Worker, fileName(r.Source))
			}
			return err
		})
	})
}

// fileName returns the name of a migration, that of its file if it has one.
func fileName(source *goose.Source) string {
	if name, isGo := goNames[source.Version]; isGo {
		return name
	}
	names, _ := fs.Glob(files, fmt.Sprintf("templates/%05d_*.sql", source.Version))
	return path.Base(strings.Join(names, " "))
}

// withProvider runs fn with goose over the pool's connections.
func withProvider(pool *pgxpool.Pool, riverSchema string, fn func(*goose.Provider) error) error {
	db := stdlib.OpenDBFromPool(pool)
	defer func() { _ = db.Close() }()
	inGo := []*goose.Migration{
		goose.NewGoMigration(indexVersion, &goose.GoFunc{RunDB: createUserDateIndex}, nil),
		goose.NewGoMigration(tokenIndexesVersion, &goose.GoFunc{RunDB: func(ctx context.Context, db *sql.DB) error {
			return buildConcurrently(ctx, db, tokenIndexes(riverSchema)...)
		}}, nil),
		goose.NewGoMigration(versionIndexVersion, &goose.GoFunc{RunDB: func(ctx context.Context, db *sql.DB) error {
			return buildConcurrently(ctx, db, versionIndex)
		}}, nil),
	}
	migrations, err := fileMigrations(riverSchema)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, nil,
		goose.WithDisableGlobalRegistry(true),
		goose.WithTableName(versionTable),
		goose.WithGoMigrations(append(migrations, inGo...)...),
	)
	if err != nil {
		return err
	}
	return fn(provider)
}

// fileMigrations fills in the schemas. A file is one transaction.
func fileMigrations(riverSchema string) ([]*goose.Migration, error) {
	names, err := fs.Glob(files, "templates/*.sql")
	if err != nil {
		return nil, err
	}
	var migrations []*goose.Migration
	for _, name := range names {
		version, err := goose.NumericComponent(name)
		if err != nil {
			return nil, err
		}
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		migrations = append(migrations, goose.NewGoMigration(version, &goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			var here string
			if err := tx.QueryRowContext(ctx, `SELECT current_schema()`).Scan(&here); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, inSchema(string(text), riverSchema, "{here}", pgx.Identifier{here}.Sanitize()))
			return err
		}}, nil))
	}
	return migrations, nil
}

// inSchema fills in {schema} and {schema_literal}, and further pairs of a
// placeholder and its SQL.
func inSchema(text, riverSchema string, more ...string) string {
	literal := "'" + strings.ReplaceAll(riverSchema, "'", "''") + "'"
	return strings.NewReplacer(append(more, "{schema}", pgx.Identifier{riverSchema}.Sanitize(), "{schema_literal}", literal)...).Replace(text)
}

// lockPollInterval is how often a second process tries to get the lock. It
// polls, because a statement that waits in PostgreSQL holds a snapshot, for
// which CREATE INDEX CONCURRENTLY of the first process would wait.
const lockPollInterval = 100 * time.Millisecond

// exclusively runs fn with an unlimited pool, while it holds the migration lock on a
// separate connection. If the process dies, the lock ends with that connection.
func exclusively(ctx context.Context, pool *pgxpool.Pool, fn func(unlimited *pgxpool.Pool, conn *pgx.Conn) error) error {
	unlimited, err := unlimitedPool(ctx, pool)
	if err != nil {
		return err
	}
	defer unlimited.Close()
	conn, err := pgx.ConnectConfig(ctx, unlimited.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	key := fnv.New64a()
	_, _ = key.Write([]byte("trainingmonkey worker migrations"))
	for {
		var locked bool
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, int64(key.Sum64())).Scan(&locked); err != nil {
			return err
		}
		if locked {
			return fn(unlimited, conn)
		}
		select {
		case <-time.After(lockPollInterval):
		case <-ctx.Done():
			return fmt.Errorf("wait for another process that is migrating: %w", ctx.Err())
		}
	}
}

// ErrNewer is returned when the database was migrated by a newer worker.
var ErrNewer = errors.New("the database was migrated by a newer version of the worker")

// ErrUnmigrated is returned when migrations are missing.
var ErrUnmigrated = errors.New("the database is not migrated")
