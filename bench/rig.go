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
)

// rig is the private server and everything that suites share.
type rig struct {
	short  bool
	rounds int
	during time.Duration // of a soak
	log    io.Writer

	server    *localpg.Server
	dir       string // of the built commands
	worker    string // this checkout's
	enqueuer  string // this checkout's, once it is built
	launched  []*process
	databases int
	results   []result
}

func (r *rig) start(ctx context.Context) (err error) {
	if r.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return err
	}
	if r.worker, err = build(ctx, r.dir, "worker"); err != nil {
		return err
	}
	r.server, err = localpg.Start(ctx, localpg.Options{
		Settings: map[string]string{
			"track_commit_timestamp": "on",  // latencies need it
			"max_connections":        "300", // eight workers with full pools
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	return err
}

// stop cleans up, even after an error.
func (r *rig) stop(ctx context.Context) {
	for _, p := range r.launched {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if r.server != nil {
		_ = r.server.Stop(ctx)
	}
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

func (r *rig) drop(ctx context.Context, name string) error {
	return r.exec(ctx, "postgres", "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
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

// open opens a pool without production's limits: contestants' statements have no timeout.
func (r *rig) open(ctx context.Context, database string) (*dbpool.Pool, error) {
	return dbpool.Open(ctx, dbpool.Options{
		URL: r.server.URL(database), ApplicationName: "bench", MaxConns: 8,
		ConnectTimeout: 10 * time.Second, AcquireTimeout: time.Minute, StatementTimeout: time.Hour,
		LockTimeout: time.Hour, IdleInTransactionTimeout: time.Hour,
	})
}

// migrated returns a new database that a worker migrated, as operators do it.
func (r *rig) migrated(ctx context.Context, binary string) (name string, err error) {
	if name, err = r.database(ctx, ""); err != nil {
		return "", err
	}
	err = command(ctx, r.dir, []string{"DATABASE_URL=" + r.server.URL(name)}, binary, "migrate", "up")
	return name, err
}
