package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
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

func (r *rig) drop(ctx context.Context, name string) error {
	return r.exec(ctx, "postgres", "DROP DATABASE "+name+" WITH (FORCE)")
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

// process is a running worker.
type process struct{ cmd *exec.Cmd }

// startWorker starts a worker as operators do and returns once it works.
func (r *rig) startWorker(ctx context.Context, database string, settings ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, r.worker, "run")
	cmd.Env = append(append(os.Environ(), "DATABASE_URL="+r.server.URL(database), "TMWORKER_LOG_LEVEL=warn", "TMWORKER_OPERATIONS_LISTEN=127.0.0.1:0"), settings...)
	cmd.Dir = r.dir
	cmd.Stderr = r.log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	pool, err := r.open(ctx, database)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	for {
		var up bool
		if err := pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM worker_processes WHERE beat_at > now() - interval '1 minute')`).Scan(&up); err != nil {
			return nil, err
		}
		if up {
			time.Sleep(200 * time.Millisecond) // until its queues are fetched from
			return &process{cmd}, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// end stops the worker and returns the most memory that it had, in bytes.
func (p *process) end() (memory int64, err error) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	if err := p.cmd.Wait(); err != nil {
		return 0, fmt.Errorf("worker: %w", err)
	}
	usage, ok := p.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, nil
	}
	return maxRSS(usage), nil
}
