//go:build chaos

package chaos

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/localpg"
	"github.com/trainingmonkey/worker/migrations"
	"github.com/trainingmonkey/worker/test/commandtest"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// grace is the workers' shutdown.grace.
const grace = 10 * time.Second

// settings of every worker: fast to detect a fault, fast to stop.
var settings = []string{
	"TMWORKER_SHUTDOWN_GRACE=10s", "TMWORKER_BATCHING_TRANSACTION_TIMEOUT=3s", "TMWORKER_DATABASE_STATEMENT_TIMEOUT=5s",
	"TMWORKER_DATABASE_ACQUIRE_TIMEOUT=2s", "PGCONNECT_TIMEOUT=2",
	"TMWORKER_DATABASE_IDLE_IN_TRANSACTION_TIMEOUT=2s",
}

// idleTimeout is the workers' database.idle_in_transaction_timeout.
const idleTimeout = 2 * time.Second

// rig is one scenario's database, its workers and its steady load.
type rig struct {
	*testing.T
	server  *localpg.Server // nil if the scenario uses the shared one
	url     string          // for tests: without the proxy
	through string          // for workers
	load    *load
	more    []string // settings of workers and commands, beside settings
	workers []*commandtest.Process
	names   map[*commandtest.Process]string // as in pg_stat_activity

	faultBegan, faultEnded time.Time
	injected               []int64 // jobs that must fail
}

// shared gives a scenario a database on the shared server.
func shared(t *testing.T) *rig {
	t.Helper()
	u := dbtest.MigratedURL(t)
	return &rig{T: t, url: u, through: u}
}

// own gives a scenario its own server, which it may break.
func own(t *testing.T) *rig {
	t.Helper()
	server := dbtest.Server(t)
	u := server.URL("postgres")
	pool := dbtest.Open(t, u)
	if _, err := migrations.Up(t.Context(), pool.Pool, dbtest.RiverSchema); err != nil {
		t.Fatal(err)
	}
	pool.Close()
	return &rig{T: t, server: server, url: u, through: u}
}

// begin starts workers and the load, and lets them run for a while.
func (r *rig) begin(workers int) {
	r.Helper()
	for range workers {
		r.startWorker()
	}
	r.load = startLoad(r.T, r.url)
	time.Sleep(2 * time.Second)
}

func (r *rig) startWorker(more ...string) *commandtest.Process {
	r.Helper()
	return r.start(commands, "worker", slices.Concat(settings, r.more, more))
}

// start starts a worker of some version; its application name has its number.
func (r *rig) start(c commandtest.Commands, command string, settings []string) *commandtest.Process {
	r.Helper()
	u, err := url.Parse(r.through)
	if err != nil {
		r.Fatal(err)
	}
	name := fmt.Sprintf("worker %d", len(r.names)+1)
	q := u.Query()
	q.Set("application_name", name)
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	p := c.Start(r.T, u.String(), settings, command, "run")
	if r.names == nil {
		r.names = map[*commandtest.Process]string{}
	}
	r.names[p] = name
	r.workers = append(r.workers, p)
	return p
}

// run runs a command with the rig's settings until it ends.
func (r *rig) run(c commandtest.Commands, command string, args ...string) (output string, code int) {
	r.Helper()
	p := c.Start(r.T, r.through, r.more, command, args...)
	code = p.Exit(r.T, time.Minute)
	return p.Log(), code
}

// fault runs what causes the fault and records its time.
func (r *rig) fault(what func()) {
	r.Helper()
	r.faultBegan = time.Now()
	what()
	r.faultEnded = time.Now()
}

// end lets the load run on, stops it, waits until everything is worked, stops
// the workers and checks the history.
func (r *rig) end() {
	r.Helper()
	time.Sleep(2 * time.Second)
	r.load.stop()
	r.drained(time.Minute)
	r.stopWorkers()
	r.check()
}

// stopWorkers terminates the workers still running; each must exit with 0 within its
// grace period.
func (r *rig) stopWorkers() {
	r.Helper()
	for _, w := range r.workers {
		select {
		case <-w.Done:
			continue
		default:
		}
		r.stopCleanly(w)
	}
}

func (r *rig) stopCleanly(w *commandtest.Process) {
	r.Helper()
	w.Signal(r.T, syscall.SIGTERM)
	if code := w.Exit(r.T, grace+2*time.Second); code != 0 {
		r.Errorf("a worker exited with %d, want 0 within the grace period\n%s", code, w.Log())
	}
}

// whatIsUnfinished describes the states of the jobs and the locks in the database, for
// diagnosis.
func (r *rig) whatIsUnfinished() (text string) {
	r.Helper()
	err := r.pool().QueryRow(r.Context(), `
		SELECT coalesce((SELECT string_agg(concat_ws(' ', n, kind, queue, state, 'attempt', attempt, 'of', worker, 'attempted', attempted, 'scheduled', scheduled), '; ')
		                 FROM (SELECT count(*) AS n, kind, queue, state, attempt, attempted_by[array_upper(attempted_by, 1)] AS worker,
		                              max(attempted_at)::time(0) AS attempted, max(scheduled_at)::time(0) AS scheduled
		                       FROM river.river_job WHERE finalized_at IS NULL GROUP BY 2, 3, 4, 5, 6) AS jobs), 'no jobs')
		    || E'\n' || (SELECT string_agg(concat_ws(' ', application_name, state, wait_event, state_change::time(0), left(query, 60)), E'\n')
		                 FROM pg_stat_activity WHERE datname = current_database())`).Scan(&text)
	if err != nil {
		return err.Error()
	}
	return text
}

func (r *rig) drained(within time.Duration) {
	r.Helper()
	deadline := time.Now().Add(within)
	for {
		n, err := r.unfinished()
		if err == nil && n == 0 {
			return
		}
		if time.Now().After(deadline) {
			r.Fatalf("%d jobs are still unfinished after %v (%v): %s", n, within, err, r.whatIsUnfinished())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (r *rig) unfinished() (n int, err error) {
	err = r.connect(func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT count(*) FROM river.river_job WHERE finalized_at IS NULL AND id <> ALL(coalesce($1::bigint[], '{}'))`, r.injected).Scan(&n)
	})
	return n, err
}

// connect runs fn on its own connection.
func (r *rig) connect(fn func(ctx context.Context, conn *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 10*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, r.url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	return fn(ctx, conn)
}

// exec runs a statement that must succeed.
func (r *rig) exec(sql string, args ...any) {
	r.Helper()
	err := r.connect(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql, args...)
		return err
	})
	if err != nil {
		r.Fatalf("%s: %v", sql, err)
	}
}

func (r *rig) pool() *dbpool.Pool {
	r.Helper()
	return dbtest.Open(r.T, r.url)
}

// address returns host:port of the server.
func (r *rig) address() string {
	u, err := url.Parse(r.url)
	if err != nil {
		r.Fatal(err)
	}
	return u.Host
}

// throughAddress makes workers connect to another address, such as a proxy's.
func (r *rig) throughAddress(address string) {
	u, err := url.Parse(r.url)
	if err != nil {
		r.Fatal(err)
	}
	u.Host = address
	r.through = u.String()
}
