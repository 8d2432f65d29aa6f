package jobs

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// DefaultSchema is the schema of River's tables unless configured otherwise.
const DefaultSchema = "river"

// Enqueuer puts jobs into the queues. It validates everything first: either all
// jobs of a call are inserted or none.
type Enqueuer struct {
	client *river.Client[pgx.Tx]
}

// NewEnqueuer returns an Enqueuer over pool. schema is where River's tables
// live, usually DefaultSchema.
func NewEnqueuer(pool *pgxpool.Pool, schema string) (*Enqueuer, error) {
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Schema: schema})
	if err != nil {
		return nil, fmt.Errorf("enqueuer: %w", err)
	}
	return &Enqueuer{client: client}, nil
}

// insertChunk is how many jobs go into one INSERT.
const insertChunk = 1000

// Ingest inserts the jobs in a transaction of its own and returns their ids in
// order. priority is PriorityLive or PriorityBulk.
func (e *Enqueuer) Ingest(ctx context.Context, priority int, args ...ActivityIngest) ([]int64, error) {
	params, err := ingestParams(priority, args)
	if err != nil {
		return nil, err
	}
	results, err := e.client.InsertMany(ctx, params)
	if err != nil {
		return nil, fmt.Errorf("enqueue %d activity_ingest jobs: %w", len(args), err)
	}
	return jobIDs(results), nil
}

// IngestTx is Ingest within the caller's transaction: the jobs exist once tx
// commits. Insert jobs last, so that no lock of tx delays the workers.
func (e *Enqueuer) IngestTx(ctx context.Context, tx pgx.Tx, priority int, args ...ActivityIngest) ([]int64, error) {
	params, err := ingestParams(priority, args)
	if err != nil {
		return nil, err
	}
	ids := make([]int64, 0, len(params))
	for len(params) > 0 {
		n := min(len(params), insertChunk)
		results, err := e.client.InsertManyTx(ctx, tx, params[:n])
		if err != nil {
			return nil, fmt.Errorf("enqueue %d activity_ingest jobs: %w", len(args), err)
		}
		ids = append(ids, jobIDs(results)...)
		params = params[n:]
	}
	return ids, nil
}

func ingestParams(priority int, args []ActivityIngest) ([]river.InsertManyParams, error) {
	params := make([]river.InsertManyParams, len(args))
	for i := range args {
		if err := args[i].Validate(); err != nil {
			return nil, fmt.Errorf("activity_ingest job %d: %w", i, err)
		}
		opts := args[i].InsertOpts()
		opts.Priority = priority
		params[i] = river.InsertManyParams{Args: args[i], InsertOpts: &opts}
	}
	return params, nil
}

// Recalc inserts the job in a transaction of its own and returns its id.
func (e *Enqueuer) Recalc(ctx context.Context, args ACWRRecalc) (int64, error) {
	if err := args.Validate(); err != nil {
		return 0, fmt.Errorf("acwr_recalc job: %w", err)
	}
	result, err := e.client.Insert(ctx, args, nil)
	if err != nil {
		return 0, fmt.Errorf("enqueue acwr_recalc job: %w", err)
	}
	return result.Job.ID, nil
}

// RecalcTx is Recalc within the caller's transaction.
func (e *Enqueuer) RecalcTx(ctx context.Context, tx pgx.Tx, args ACWRRecalc) (int64, error) {
	if err := args.Validate(); err != nil {
		return 0, fmt.Errorf("acwr_recalc job: %w", err)
	}
	result, err := e.client.InsertTx(ctx, tx, args, nil)
	if err != nil {
		return 0, fmt.Errorf("enqueue acwr_recalc job: %w", err)
	}
	return result.Job.ID, nil
}

func jobIDs(results []*rivertype.JobInsertResult) []int64 {
	ids := make([]int64, len(results))
	for i, r := range results {
		ids[i] = r.Job.ID
	}
	return ids
}
