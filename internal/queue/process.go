package queue

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
)

// A process maintains a heartbeat row: pages show it, and it reveals crashes, after
// which other processes claim cautiously. The beat also reads the clock that River goes by.
// All times are the database's.
const (
	beatInterval = 2 * time.Second
	// DeadAfter is how long after its last beat a process counts as dead.
	DeadAfter = 8 * time.Second
	// queuesInterval is how often River's table of queues is refreshed; it removes queues
	// that were not refreshed for a day.
	queuesInterval = time.Minute
)

// Writing has a process's settings acwr.write and acwr.rollout_percent.
type Writing struct {
	Mode           string
	RolloutPercent int
}

// Process is this process's registration.
type Process struct {
	Clock Clock // read with every beat

	pool    *dbpool.Pool
	schema  Schema
	client  string
	queues  []string
	writing Writing
	timeout time.Duration
	logger  *slog.Logger
	// died is called when some process died without deregistering.
	died func()

	reported time.Time // when River's table of queues was refreshed
}

// NewProcess returns the process that River knows as client and that serves queues.
// timeout bounds each of its transactions. died is called after another process's
// death. The process does nothing before Register.
func NewProcess(pool *dbpool.Pool, schema Schema, client string, queues []string, writing Writing, timeout time.Duration, died func(), logger *slog.Logger) *Process {
	return &Process{pool: pool, schema: schema, client: client, queues: queues, writing: writing, timeout: timeout, died: died, logger: logger}
}

// Register inserts the process's row and searches for other processes that died.
func (p *Process) Register(ctx context.Context) error {
	ours.Store(p.client, true)
	if err := p.beat(ctx); err != nil {
		return fmt.Errorf("register the process: %w", err)
	}
	return nil
}

// Run beats until ctx ends.
func (p *Process) Run(ctx context.Context) {
	ticker := time.NewTicker(beatInterval)
	defer ticker.Stop()
	for failing := false; ; {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		err := p.beat(ctx)
		if err == nil {
			err = p.promote(ctx)
		}
		if err != nil && ctx.Err() == nil && !failing {
			p.logger.WarnContext(ctx, "heartbeat failed, will try again", slog.String("error", err.Error()))
		}
		failing = err != nil
	}
}

// beatQuery reports whether the previous beat was in time, as the first one always is, and
// the server's time.
const beatQuery = `
-- name: process_beat
WITH previous AS (SELECT beat_at FROM worker_processes WHERE client_id = $1)
INSERT INTO worker_processes (client_id, beat_at, acwr_write, acwr_rollout_percent) VALUES ($1, clock_timestamp(), $3, $4)
ON CONFLICT (client_id) DO UPDATE SET beat_at = clock_timestamp(), died_at = NULL, acwr_write = excluded.acwr_write, acwr_rollout_percent = excluded.acwr_rollout_percent
RETURNING coalesce((SELECT beat_at > clock_timestamp() - $2::interval FROM previous), true), clock_timestamp()`

const othersQuery = `
-- name: process_others
SELECT client_id FROM worker_processes WHERE client_id <> $1 AND died_at IS NULL AND beat_at > clock_timestamp() - interval '1 hour'`

// diedQuery records the deaths of processes that stopped beating or are known
// to be gone. The rows are locked in key order.
const diedQuery = `
-- name: process_died
UPDATE worker_processes SET died_at = clock_timestamp() WHERE client_id IN (
	SELECT client_id FROM worker_processes
	WHERE died_at IS NULL AND client_id <> $1 AND beat_at > clock_timestamp() - interval '1 hour'
	  AND (client_id = ANY($3::text[]) OR (beat_at < clock_timestamp() - $2::interval AND $4))
	ORDER BY client_id FOR UPDATE SKIP LOCKED)`

const recentDeathsQuery = `
-- name: process_recent_deaths
SELECT EXISTS (SELECT FROM worker_processes WHERE died_at > clock_timestamp() - interval '10 seconds')`

const forgetQuery = `
-- name: process_forget
DELETE FROM worker_processes WHERE client_id IN (
	SELECT client_id FROM worker_processes
	WHERE greatest(beat_at, started_at) < clock_timestamp() - interval '1 day' ORDER BY client_id FOR UPDATE SKIP LOCKED)`

const aliveQuery = `
-- name: process_alive
SELECT count(*) FROM worker_processes WHERE died_at IS NULL AND beat_at > clock_timestamp() - $1::interval`

// AliveProcesses counts the workers whose last beat is recent.
func AliveProcesses(ctx context.Context, db dbpool.Querier) (n int, err error) {
	if err := db.QueryRow(ctx, aliveQuery, DeadAfter).Scan(&n); err != nil {
		return 0, fmt.Errorf("count workers: %w", err)
	}
	return n, nil
}

// serveQuery reports to River that the queues are served, as its own clients do. River
// deletes rows that were not refreshed for a day; without this, a queue that no process
// serves at the moment would lose its pause.
const serveQuery = `
-- name: serve_queues
INSERT INTO {schema}.river_queue (name, updated_at) SELECT name, now()
FROM (SELECT unnest($1::text[]) AS name UNION SELECT name FROM {schema}.river_queue WHERE paused_at IS NOT NULL) AS served
ORDER BY name
ON CONFLICT (name) DO UPDATE SET updated_at = excluded.updated_at`

// beat records this process's heartbeat, and deaths of others. It judges others
// by their beats only if its own previous beat was in time: after an outage of
// the database every process seems dead.
func (p *Process) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		var inTime, deaths bool
		var now time.Time
		var others []string
		b := &pgx.Batch{}
		b.Queue(beatQuery, p.client, DeadAfter, p.writing.Mode, p.writing.RolloutPercent).QueryRow(func(row pgx.Row) error { return row.Scan(&inTime, &now) })
		b.Queue(othersQuery, p.client).Query(func(rows pgx.Rows) (err error) {
			others, err = pgx.CollectRows(rows, pgx.RowTo[string])
			return err
		})
		if time.Since(p.reported) > queuesInterval {
			b.Queue(p.schema.SQL(serveQuery), p.queues)
			b.Queue(forgetQuery)
			p.reported = time.Now()
		}
		asked := time.Now()
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			p.reported = time.Time{}
			return err
		}
		p.Clock.read(now, asked, time.Now())
		b = &pgx.Batch{}
		b.Queue(diedQuery, p.client, DeadAfter, goneFromHere(others), inTime)
		b.Queue(recentDeathsQuery).QueryRow(func(row pgx.Row) error { return row.Scan(&deaths) })
		if err := tx.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		if deaths {
			p.died()
		}
		return nil
	})
}

// promoteQuery makes jobs available that are due, as River's leader does every five seconds.
// But the leader waits for rows that somebody has locked, and then promotes no other job;
// and for as long as the leader before it, killed or on a server whose clock was ahead, has
// the lease, there is none. Jobs with a unique key are left to River, because another job may
// have the key. It follows the index that River fetches with, every two seconds in every
// process.
const promoteQuery = `
-- name: promote_due_jobs
UPDATE {schema}.river_job SET state = 'available' WHERE id = ANY(ARRAY(
	SELECT id FROM {schema}.river_job
	WHERE state IN ('retryable', 'scheduled') AND queue = ANY($1::text[]) AND scheduled_at <= now() AND unique_key IS NULL
	LIMIT 1000 FOR UPDATE SKIP LOCKED))`

func (p *Process) promote(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	b := &pgx.Batch{}
	b.Queue(byIndexQuery)
	b.Queue(p.schema.SQL(promoteQuery), append([]string{jobs.QueueTokens}, p.queues...))
	if err := p.pool.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("promote jobs that are due: %w", err)
	}
	return nil
}

// Deregister records that this process ended cleanly.
func (p *Process) Deregister(ctx context.Context) error {
	return p.execute(ctx, "deregister the process", `UPDATE worker_processes SET beat_at = '-infinity' WHERE client_id = $1`, p.client)
}

// execute runs one statement in a transaction. act is the prefix of its error.
func (p *Process) execute(ctx context.Context, act, query string, arg any) error {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	err := pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, query, arg)
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", act, err)
	}
	return nil
}

// ours are the clients of this process: one, except in tests.
var ours sync.Map

// ClientID names this process: host name, PID, and a random part.
func ClientID(random string) string {
	return fmt.Sprintf("%s-%d-%s", hostname(), os.Getpid(), random)
}

func hostname() string {
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}

// goneFromHere returns the processes that ran on this machine and no longer do. A
// restarted container has the host name of the previous one and may have its PID.
func goneFromHere(clients []string) []string {
	gone := []string{}
	for _, client := range clients {
		rest, isHere := strings.CutPrefix(client, hostname()+"-")
		number, _, found := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(number)
		if !isHere || !found || err != nil || pid <= 0 {
			continue
		}
		_, isOurs := ours.Load(client)
		if pid == os.Getpid() && !isOurs || pid != os.Getpid() && syscall.Kill(pid, 0) == syscall.ESRCH {
			gone = append(gone, client)
		}
	}
	return gone
}
