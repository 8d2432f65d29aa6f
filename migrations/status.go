package migrations

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/pressly/goose/v3"
)

// Status compares a database with what this worker needs.
type Status struct {
	Worker Line `json:"worker"` // the numbered files in sql/
	River  Line `json:"river"`  // River's main line
}

// Line is one sequence of migrations: the version that the database is at, 0
// when it has none, and the newest that this worker knows.
type Line struct {
	Current int64 `json:"current"`
	Newest  int64 `json:"newest"`
}

// Pending tells whether migrations are missing.
func (l Line) Pending() bool { return l.Current < l.Newest }

// Unknown tells whether the database is ahead of this worker.
func (l Line) Unknown() bool { return l.Current > l.Newest }

// GetStatus reads the versions without changing anything.
func GetStatus(ctx context.Context, pool *pgxpool.Pool, riverSchema string) (Status, error) {
	var s Status
	applied, newest, err := riverVersions(ctx, pool, riverSchema)
	if err != nil {
		return s, fmt.Errorf("read river's migrations: %w", err)
	}
	s.River.Newest = int64(newest)
	if len(applied) > 0 {
		s.River.Current = int64(applied[len(applied)-1])
	}
	s.Worker.Current, err = workerVersion(ctx, pool)
	if err != nil {
		return s, fmt.Errorf("read the worker's migrations: %w", err)
	}
	err = withProvider(pool, func(provider *goose.Provider) error {
		sources := provider.ListSources()
		s.Worker.Newest = sources[len(sources)-1].Version
		return nil
	})
	return s, err
}

// workerVersionQuery avoids naming the version table in a database that does
// not have it, which would be an error.
const workerVersionQuery = `SELECT to_regclass('` + versionTable + `') IS NOT NULL`

func workerVersion(ctx context.Context, pool *pgxpool.Pool) (int64, error) {
	var exists bool
	if err := pool.QueryRow(ctx, workerVersionQuery).Scan(&exists); err != nil || !exists {
		return 0, err
	}
	var version int64
	err := pool.QueryRow(ctx, `SELECT coalesce(max(version_id) FILTER (WHERE is_applied), 0) FROM `+versionTable).Scan(&version)
	return version, err
}

// Check returns nil when the database is at exactly what this worker needs,
// otherwise an error that wraps ErrUnmigrated or ErrNewer and says what helps.
func Check(ctx context.Context, pool *pgxpool.Pool, riverSchema string) error {
	s, err := GetStatus(ctx, pool, riverSchema)
	if err != nil {
		return err
	}
	if err := s.newer(); err != nil {
		return err
	}
	if s.Worker.Pending() || s.River.Pending() {
		return fmt.Errorf("%w: worker tables at %d of %d, river tables at %d of %d; run: worker migrate up",
			ErrUnmigrated, s.Worker.Current, s.Worker.Newest, s.River.Current, s.River.Newest)
	}
	return nil
}

func checkNotNewer(ctx context.Context, pool *pgxpool.Pool, riverSchema string) error {
	s, err := GetStatus(ctx, pool, riverSchema)
	if err != nil {
		return err
	}
	return s.newer()
}

func (s Status) newer() error {
	if s.Worker.Unknown() || s.River.Unknown() {
		return fmt.Errorf("%w: worker tables at %d (this version knows %d), river tables at %d (knows %d); deploy that version or a newer one",
			ErrNewer, s.Worker.Current, s.Worker.Newest, s.River.Current, s.River.Newest)
	}
	return nil
}
