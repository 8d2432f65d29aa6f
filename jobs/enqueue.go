package jobs

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// DefaultSchema is the schema of River's tables unless configured otherwise.
const DefaultSchema = "river"

// Enqueuer inserts jobs. It validates them first: either all jobs of a call are
// inserted or none.
type Enqueuer struct {
	pool                   *pgxpool.Pool
	client                 *river.Client[pgx.Tx]
	topic                  string
	dateQuery, notifyQuery string
}

// NewEnqueuer returns an Enqueuer that uses pool. schema is the schema of
// River's tables, usually DefaultSchema.
func NewEnqueuer(pool *pgxpool.Pool, schema string) (*Enqueuer, error) {
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Schema: schema,
		Logger: slog.New(slog.DiscardHandler), // the errors it logs also fail the transaction
	})
	if err != nil {
		return nil, fmt.Errorf("enqueuer: %w", err)
	}
	inSchema := strings.NewReplacer("{schema}", pgx.Identifier{schema}.Sanitize())
	return &Enqueuer{
		pool: pool, client: client, topic: schema + ".river_insert",
		dateQuery: inSchema.Replace(dateQuery), notifyQuery: inSchema.Replace(notifyQuery),
	}, nil
}

// clockQuery reads the server's clock.
const clockQuery = `
-- name: enqueue_clock
SELECT clock_timestamp()`

// dateQuery dates jobs by the server's clock. River dates them by this machine's: if that is
// ahead they would have to wait, and if it is behind, tokens that were saved before the job
// was enqueued would count as saved after it. The query is planned each time, because a plan
// from when few jobs were stored would read all of them.
const dateQuery = `
-- name: date_jobs
UPDATE {schema}.river_job SET created_at = statement_timestamp(), scheduled_at = statement_timestamp() WHERE id = ANY($1::bigint[])`

// maxBehind is how far behind the server's clock this machine's may be: by less it does no
// harm.
const maxBehind = time.Second

// notifyQuery wakes the workers of queues once the transaction commits, unless they have
// promised to poll: transactions that notify commit one after the other, each waiting for
// the disk. River notifies workers as well, but only once per interval and client: a job
// inserted later in the interval would wait for the workers' next poll.
const notifyQuery = `
-- name: notify_workers
SELECT pg_notify($1, json_build_object('queue', queue)::text) FROM unnest($2::text[]) AS queue
WHERE NOT EXISTS (SELECT FROM {schema}.worker_promises AS p WHERE p.queue = queue.queue AND p.awake_until > clock_timestamp())`

// insertable are the arguments of a job that an Enqueuer inserts.
type insertable interface {
	river.JobArgs
	Validate() error
	insertOpts(priority int) river.InsertOpts
}

// insert validates the jobs, inserts them in the caller's transaction, wakes the workers
// of their queues, and returns the jobs' ids in order.
func insert[T insertable](ctx context.Context, tx pgx.Tx, e *Enqueuer, priority int, jobs []T) ([]int64, error) {
	params := make([]river.InsertManyParams, len(jobs))
	for i, args := range jobs {
		switch err := args.Validate(); {
		case err != nil && len(jobs) == 1:
			return nil, fmt.Errorf("%s job: %w", args.Kind(), err)
		case err != nil:
			return nil, fmt.Errorf("%s job %d: %w", args.Kind(), i, err)
		}
		params[i] = river.InsertManyParams{Args: args, InsertOpts: new(args.insertOpts(priority))}
	}
	ids := make([]int64, 0, len(params))
	queues := map[string]struct{}{}
	var earliest, latest, now time.Time
	began := time.Now()
	for part := range statements(params) {
		results, err := e.client.InsertManyTx(ctx, tx, part)
		if err != nil {
			return nil, fmt.Errorf("enqueue jobs, %d in all: %w", len(params), err)
		}
		for _, r := range results {
			ids = append(ids, r.Job.ID)
			queues[r.Job.Queue] = struct{}{}
			if latest.Before(r.Job.ScheduledAt) {
				latest = r.Job.ScheduledAt
			}
			if earliest.IsZero() || earliest.After(r.Job.CreatedAt) {
				earliest = r.Job.CreatedAt
			}
		}
	}
	b := &pgx.Batch{}
	b.Queue(clockQuery).QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
	b.Queue(e.notifyQuery, e.topic, slices.Sorted(maps.Keys(queues)))
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return nil, fmt.Errorf("notify the workers: %w", err)
	}
	if latest.After(now) || earliest.Before(now.Add(-time.Since(began)-maxBehind)) {
		if _, err := tx.Exec(ctx, e.dateQuery, pgx.QueryExecModeExec, ids); err != nil {
			return nil, fmt.Errorf("date the jobs: %w", err)
		}
	}
	return ids, nil
}

// Limits of one INSERT: its jobs, and their activities or ranges in total. A
// single job may exceed the latter. Both sides keep a whole statement in
// memory, and the server accepts none above 1 GB.
const (
	statementJobs  = 1000
	statementItems = 5000
)

// statements splits the jobs of a call, in order, into those of one INSERT each.
func statements(params []river.InsertManyParams) iter.Seq[[]river.InsertManyParams] {
	return func(yield func([]river.InsertManyParams) bool) {
		first, items := 0, 0
		for i, p := range params {
			n := itemCount(p.Args)
			if i > first && (i-first == statementJobs || items+n > statementItems) {
				if !yield(params[first:i]) {
					return
				}
				first, items = i, 0
			}
			items += n
		}
		if first < len(params) {
			yield(params[first:])
		}
	}
}

func itemCount(args river.JobArgs) int {
	switch args := args.(type) {
	case ActivityIngest:
		return len(args.Activities)
	case ACWRRecalc:
		return len(args.Ranges)
	default:
		return 1
	}
}

// Ingest inserts the jobs in a transaction of its own and returns their ids in
// order. priority is PriorityLive or PriorityBulk.
func (e *Enqueuer) Ingest(ctx context.Context, priority int, args ...ActivityIngest) (ids []int64, err error) {
	err = pgx.BeginFunc(ctx, e.pool, func(tx pgx.Tx) error {
		ids, err = e.IngestTx(ctx, tx, priority, args...)
		return err
	})
	return ids, err
}

// IngestTx is Ingest within the caller's transaction: the jobs exist once tx
// commits. Insert jobs last, so that no lock of tx delays the workers.
func (e *Enqueuer) IngestTx(ctx context.Context, tx pgx.Tx, priority int, args ...ActivityIngest) ([]int64, error) {
	return insert(ctx, tx, e, priority, args)
}

// Recalc inserts the job in a transaction of its own and returns its id.
func (e *Enqueuer) Recalc(ctx context.Context, priority int, args ACWRRecalc) (id int64, err error) {
	err = pgx.BeginFunc(ctx, e.pool, func(tx pgx.Tx) error {
		id, err = e.RecalcTx(ctx, tx, priority, args)
		return err
	})
	return id, err
}

// RecalcTx is Recalc within the caller's transaction.
func (e *Enqueuer) RecalcTx(ctx context.Context, tx pgx.Tx, priority int, args ACWRRecalc) (int64, error) {
	ids, err := insert(ctx, tx, e, priority, []ACWRRecalc{args})
	if err != nil {
		return 0, err
	}
	return ids[0], nil
}
