// Package recovery returns the jobs of dead worker processes to the queue
// within seconds. Every process keeps a heartbeat row, and every process looks
// for rows that stopped beating.
//
// Rule: recovery may be wrong about who is dead, a paused process for example,
// and must do no harm then. It changes who holds a job, by changing its state
// and, with the next fetch, the time of its attempt; whoever held it before is
// stopped by the fence at commit. All times are the database's.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// Beginner starts transactions; a *dbpool.Pool, say.
type Beginner interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}

// Options say how often to look and when to give a process up. All are required.
type Options struct {
	RiverSchema string
	Interval    time.Duration // between two beats
	DeadAfter   time.Duration // without a beat; several intervals
	Timeout     time.Duration // of one beat
	Logger      *slog.Logger
}

// Process is this process in the eyes of the others.
type Process struct {
	options  Options
	db       Beginner
	clientID string

	mu        sync.Mutex
	executing map[int64]int    // jobs that River has given to this process's workers, and how many attempts of each
	recovered map[string]int64 // by kind

	strangers map[int64]time.Time // at the previous look: jobs held and not executed, and when they were fetched
}

// New returns the process that River knows by clientID. Nothing happens before
// Join.
func New(db Beginner, clientID string, options Options) *Process {
	return &Process{options: options, db: db, clientID: clientID, executing: map[int64]int{}, recovered: map[string]int64{}}
}

// Middleware notes which jobs this process executes. It stands around all
// others.
func (p *Process) Middleware() rivertype.Middleware {
	return river.WorkerMiddlewareFunc(func(ctx context.Context, job *rivertype.JobRow, work func(context.Context) error) error {
		p.mu.Lock()
		p.executing[job.ID]++
		p.mu.Unlock()
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.executing[job.ID]--; p.executing[job.ID] == 0 {
				delete(p.executing, job.ID)
			}
		}()
		return work(ctx)
	})
}

func (p *Process) executingIDs() []int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids := make([]int64, 0, len(p.executing))
	for id := range p.executing {
		ids = append(ids, id)
	}
	return ids
}

// Recovered counts the jobs that this process returned to the queue.
func (p *Process) Recovered() (jobs int64) {
	for _, n := range p.RecoveredByKind() {
		jobs += n
	}
	return jobs
}

// RecoveredByKind is Recovered for each kind that there was.
func (p *Process) RecoveredByKind() map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.recovered)
}

func (p *Process) countRecovered(byKind map[string]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for kind, n := range byKind {
		p.recovered[kind] += n
	}
}

// Join makes the first beat. It must precede the first fetch, or a process that
// died right after it would leave jobs that nobody can attribute.
func (p *Process) Join(ctx context.Context) error {
	_, err := p.beat(ctx)
	return err
}

// Run beats and recovers until ctx ends.
func (p *Process) Run(ctx context.Context) {
	ticker := time.NewTicker(p.options.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if err := p.beatAndRecover(ctx); err != nil && ctx.Err() == nil {
			p.options.Logger.WarnContext(ctx, "heartbeat failed, will try again", slog.String("error", err.Error()))
		}
	}
}

// beatAndRecover recovers the jobs of others only when this process's previous
// beat was in time: after an outage of the database everybody looks dead, and
// has to be given the chance to beat first.
func (p *Process) beatAndRecover(ctx context.Context) error {
	inTime, err := p.beat(ctx)
	if err != nil {
		return err
	}
	err = p.recoverOwn(ctx)
	if inTime {
		err = errors.Join(err, p.recover(ctx))
	}
	return err
}

// beatQuery tells whether the previous beat was in time; the first one never is.
const beatQuery = `
-- name: recovery_beat
WITH previous AS (SELECT beat_at FROM worker_processes WHERE client_id = $1)
INSERT INTO worker_processes (client_id, beat_at) VALUES ($1, clock_timestamp())
ON CONFLICT (client_id) DO UPDATE SET beat_at = clock_timestamp()
RETURNING coalesce((SELECT beat_at > clock_timestamp() - $2::interval FROM previous), false)`

func (p *Process) beat(ctx context.Context) (inTime bool, err error) {
	err = p.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, beatQuery, p.clientID, p.options.DeadAfter).Scan(&inTime)
	})
	if err != nil {
		return false, fmt.Errorf("beat: %w", err)
	}
	return inTime, nil
}

// Leave says goodbye: what this process still holds, if anything, may be
// recovered at once.
func (p *Process) Leave(ctx context.Context) error {
	err := p.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE worker_processes SET beat_at = '-infinity' WHERE client_id = $1`, p.clientID)
		return err
	})
	if err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	return nil
}

func (p *Process) inTx(ctx context.Context, fn func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.options.Timeout)
	defer cancel()
	return pgx.BeginFunc(ctx, p.db, func(tx pgx.Tx) error { return fn(ctx, tx) })
}

func (p *Process) query(sql string) string {
	return strings.ReplaceAll(sql, "{schema}", pgx.Identifier{p.options.RiverSchema}.Sanitize())
}
