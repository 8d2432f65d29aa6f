// Package admin has the operator's snapshot of the whole system, with findings and the
// freshness of athletes' results, and the operator's actions on rejects and on an
// athlete's data.
//
// Rules. A snapshot stays cheap with millions of jobs in the queues: every query
// follows an index and stops after a bounded number of rows. No accepted activity is
// lost by accident: rows are locked and changed in key order, in transactions too
// short to disturb workers; one commit replaces a rejected activity with the job
// that retries it; and an older version never replaces a newer one.
package admin

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/internal/throughput"
)

// Snapshot is the state of the system at one moment. Lists are never null.
type Snapshot struct {
	TakenAt   time.Time            `json:"taken_at"` // by the database's clock
	Freshness []Freshness          `json:"freshness"`
	Writing   Writing              `json:"writing"`
	Queues    []queue.Counts       `json:"queues"`
	Processes []Process            `json:"processes"` // seen within a day, except those that deregistered
	Backfills []backfill.Backfill  `json:"backfills"` // the newest
	Rejects   Rejects              `json:"rejects"`
	Discarded []queue.EndedJob     `json:"discarded"` // the most recent
	Cancelled []queue.EndedJob     `json:"cancelled"` // the most recent
	Retryable []queue.RetryableJob `json:"retryable"` // those to be tried next
	Reasons   FailureReasons       `json:"reasons"`
	Tokens    Tokens               `json:"tokens"`
	LastHour  []throughput.Point   `json:"-"` // drawn by the page, the oldest first
	Vacuum    Vacuum               `json:"-"` // shown as findings
	Upkeep    Upkeep               `json:"-"` // shown as findings
	JobIDs    JobIDs               `json:"-"` // shown as a finding
	// Connections are shown as a finding if they do not suffice for one more worker, which takes up
	// to WorkerConnections.
	Connections       Connections `json:"-"`
	WorkerConnections int         `json:"-"` // of Options
	LastJobID         int64       `json:"last_job_id"`
	ClockOff          float64     `json:"clock_difference_seconds"` // min difference between the database and the machine that took the snapshot
}

// Options say what to read.
type Options struct {
	RiverSchema string
	Queues      []string      // shown even if no worker ever served them
	Kinds       []string      // that a Watch counts by name
	Timeout     time.Duration // of one Read
	// WorkerConnections is how many connections one worker takes at most. 0: whether there are enough
	// is not judged.
	WorkerConnections int
	Throttle          sync.Locker // held by a Watch while it reads; nil for none
}

const (
	newestBackfills = 5
	recentRows      = 10
)

// limitsQuery keeps a snapshot from delaying the workers.
const limitsQuery = `
-- name: snapshot_limits
SELECT clock_timestamp(), set_config('statement_timeout', $1, true), set_config('lock_timeout', '1s', true)`

// Read takes a snapshot in one read-only transaction.
func Read(ctx context.Context, pool *dbpool.Pool, o Options) (s Snapshot, err error) {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	err = pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error { return s.read(ctx, tx, o) })
	if err != nil {
		return s, fmt.Errorf("take a snapshot of the database: %w", err)
	}
	return s, nil
}

func (s *Snapshot) read(ctx context.Context, tx pgx.Tx, o Options) (err error) {
	asked := time.Now()
	if err := tx.QueryRow(ctx, limitsQuery, fmt.Sprint(o.Timeout.Milliseconds())).Scan(&s.TakenAt, nil, nil); err != nil {
		return err
	}
	s.ClockOff = ClockDifference(s.TakenAt, asked, time.Now()).Seconds()
	batch := &pgx.Batch{}
	river := queue.Schema(o.RiverSchema)
	river.Counts(batch, o.Queues, &s.Queues)
	river.Ended(batch, "discarded", recentRows, &s.Discarded)
	river.Ended(batch, "cancelled", recentRows, &s.Cancelled)
	river.Retryable(batch, recentRows, &s.Retryable)
	queueReasons(batch, river, &s.Reasons)
	river.NewestID(batch, &s.LastJobID)
	batch.Queue(processesQuery, queue.DeadAfter).Query(dbpool.Into(&s.Processes))
	queueRejects(batch, s)
	var without, read int64
	queueWithoutResults(batch, &without, &read)
	queueTokens(batch, river, s)
	throughput.QueueLastHour(batch, o.RiverSchema, &s.LastHour)
	QueueVacuum(batch, HeldBackFor, HeldBackBy, &s.Vacuum)
	QueueUpkeep(batch, o.RiverSchema, &s.Upkeep)
	river.VisibleLastID(batch, &s.JobIDs.Last)
	queueConnections(batch, &s.Connections)
	s.WorkerConnections = o.WorkerConnections
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	if err := river.EstimateCounts(ctx, tx, s.Queues); err != nil {
		return err
	}
	if err := estimateManyTokens(ctx, tx, river, &s.Tokens); err != nil {
		return err
	}
	if s.Backfills, err = backfill.List(ctx, tx, o.RiverSchema, newestBackfills); err != nil {
		return err
	}
	s.Freshness, s.Writing = laneFreshness(s.Queues), combineWriting(s.Processes)
	return s.Writing.estimateWithoutResults(ctx, tx, without, read)
}
