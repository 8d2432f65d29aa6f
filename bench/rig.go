package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/localpg"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/migrations"
)

// rig is the private server and what all suites share.
type rig struct {
	short  bool
	rounds int
	log    io.Writer

	server    *localpg.Server
	dir       string // of the built worker
	worker    string
	databases int
	results   []result
}

func (r *rig) start(ctx context.Context) (err error) {
	if r.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	if r.worker, err = buildWorker(ctx, r.dir); err != nil {
		return err
	}
	r.server, err = localpg.Start(ctx, localpg.Options{
		Settings: map[string]string{"track_commit_timestamp": "on"}, // for the latencies
		Logger:   slog.New(slog.DiscardHandler),
	})
	return err
}

func (r *rig) stop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	_ = r.server.Stop(ctx)
	_ = os.RemoveAll(r.dir)
}

func (r *rig) say(format string, args ...any) { _, _ = fmt.Fprintf(r.log, format+"\n", args...) }

// database returns a new database: a copy of template, or an empty one.
func (r *rig) database(ctx context.Context, template string) (name string, err error) {
	r.databases++
	name = fmt.Sprintf("bench%d", r.databases)
	copied := ""
	if template != "" {
		copied = " TEMPLATE " + template + " STRATEGY file_copy"
	}
	return name, r.exec(ctx, "postgres", "CREATE DATABASE "+name+copied)
}

func (r *rig) drop(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := r.exec(ctx, "postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) exec(ctx context.Context, database, sql string, args ...any) error {
	conn, err := pgx.Connect(ctx, r.server.URL(database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql, args...)
	return err
}

// open opens a pool without the limits of production: statements of the
// contestants take what they take.
func (r *rig) open(ctx context.Context, database string) (*dbpool.Pool, error) {
	return dbpool.Open(ctx, dbpool.Options{
		URL: r.server.URL(database), ApplicationName: "bench", MaxConns: 8,
		ConnectTimeout: 10 * time.Second, AcquireTimeout: time.Minute, StatementTimeout: time.Hour,
		LockTimeout: time.Hour, IdleInTransactionTimeout: time.Hour,
	})
}

// migrated returns a new migrated database.
func (r *rig) migrated(ctx context.Context) (name string, err error) {
	if name, err = r.database(ctx, ""); err != nil {
		return "", err
	}
	pool, err := r.open(ctx, name)
	if err != nil {
		return "", err
	}
	defer pool.Close()
	_, err = migrations.Up(ctx, pool.Pool, jobs.DefaultSchema)
	return name, err
}
