package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/localpg"
	"github.com/trainingmonkey/worker/migrations"
)

// stopTimeout bounds the stopping of a private server.
const stopTimeout = 30 * time.Second

// localDatabase is the name of the database in a private server.
const localDatabase = "trainingmonkey"

// startLocal starts a private server, in dir or in a temporary directory, with
// one database in it.
func startLocal(ctx context.Context, dir string, logger *slog.Logger) (server *localpg.Server, url string, err error) {
	server, err = localpg.Start(ctx, localpg.Options{Dir: dir, Logger: logger})
	if err != nil {
		return nil, "", err
	}
	if err := ensureDatabase(ctx, server); err != nil {
		err = fmt.Errorf("create database %s: %w", localDatabase, err)
		if ctx.Err() == nil {
			err = fmt.Errorf("%w\n%s", err, server.LogTail())
		}
		return nil, "", errors.Join(err, stopLocal(ctx, server))
	}
	return server, server.URL(localDatabase), nil
}

func ensureDatabase(ctx context.Context, server *localpg.Server) error {
	conn, err := pgx.Connect(ctx, server.URL("postgres"))
	if err != nil {
		return dbpool.Concise(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, localDatabase).Scan(&exists); err != nil || exists {
		return err
	}
	_, err = conn.Exec(ctx, `CREATE DATABASE `+localDatabase)
	return err
}

func stopLocal(ctx context.Context, server *localpg.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return server.Stop(ctx)
}

// openMigrated opens the database of url and applies missing migrations.
func openMigrated(ctx context.Context, settings config.Config, url, application string, tracer pgx.QueryTracer) (*dbpool.Pool, error) {
	settings.DatabaseURL = url
	pool, err := cli.OpenPool(ctx, settings, application, tracer)
	if err != nil {
		return nil, err
	}
	if _, err := migrations.Up(ctx, pool.Pool, settings.River.Schema); err != nil {
		pool.Close()
		return nil, err
	}
	return pool, nil
}

// serverName returns PostgreSQL's version, address and database.
func serverName(ctx context.Context, pool *dbpool.Pool) (string, error) {
	var version string
	if err := pool.QueryRow(ctx, `SHOW server_version`).Scan(&version); err != nil {
		return "", fmt.Errorf("ask for the server's version: %w", err)
	}
	version, _, _ = strings.Cut(version, " ") // the rest is the package's
	return fmt.Sprintf("PostgreSQL %s, %s", version, dbpool.Target(pool.Config().ConnConfig)), nil
}

// devDirectory returns the directory of the database of `worker dev`.
func devDirectory() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a directory for the development database: %w; name one with --dir", err)
	}
	return filepath.Join(cache, "trainingmonkey-worker", "postgres"), nil
}
