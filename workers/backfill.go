package workers

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/groupcommit"
	"github.com/trainingmonkey/worker/internal/pgfault"
	"github.com/trainingmonkey/worker/jobs"
)

// backfillArgs is jobs.ACWRBackfill as the worker reads it: a fault instead of
// an error that River would retry.
type backfillArgs struct {
	jobs.ACWRBackfill
	fault error
}

// UnmarshalJSON never returns an error; see backfillArgs.
func (args *backfillArgs) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &args.ACWRBackfill); err != nil {
		args.fault = fmt.Errorf("args do not decode: %w", err)
	} else if err := args.Validate(); err != nil {
		args.fault = fmt.Errorf("args do not decode: %w", err)
	}
	return nil
}

// backfillWorker works chunks of backfills, each in a transaction of its own.
type backfillWorker struct {
	river.WorkerDefaults[backfillArgs]
	engine *groupcommit.Engine[backfillArgs]
}

// Work implements river.Worker.
func (w *backfillWorker) Work(ctx context.Context, job *river.Job[backfillArgs]) error {
	if job.Args.fault != nil {
		return river.JobCancel(job.Args.fault)
	}
	if err := w.engine.Work(ctx, job); err != nil {
		return err
	}
	return groupcommit.Committed
}

// Timeout implements river.Worker.
func (w *backfillWorker) Timeout(*river.Job[backfillArgs]) time.Duration { return noTimeout }

// Middleware implements river.Worker.
func (w *backfillWorker) Middleware(*rivertype.JobRow) []rivertype.WorkerMiddleware {
	return []rivertype.WorkerMiddleware{w.engine.Middleware()}
}

// backfiller makes the users of a chunk right.
type backfiller struct {
	recalculator *recalculator
	enqueuer     *jobs.Enqueuer
	chunkRows    int
}

func (bf *backfiller) kind() groupcommit.Kind[backfillArgs] {
	return groupcommit.Kind[backfillArgs]{
		Weigh:   func(*river.Job[backfillArgs]) int { return 1 },
		Apply:   bf.apply,
		Salvage: bf.salvage,
	}
}

// apply works the one chunk of the batch, or plans.
func (bf *backfiller) apply(ctx context.Context, tx pgx.Tx, batch []*river.Job[backfillArgs]) error {
	args := batch[0].Args
	if args.Chunk == 0 {
		if _, err := tx.Exec(ctx, settingsOfTransactionQuery); err != nil {
			return err
		}
		return backfill.Plan(ctx, tx, bf.enqueuer, args.BackfillID, bf.chunkRows)
	}
	chunk, err := backfill.Lock(ctx, tx, args.BackfillID, args.Chunk)
	if err != nil || chunk == nil {
		return err
	}
	changed, err := bf.recalculate(ctx, tx, chunk, chunk.Users)
	if err != nil {
		return err
	}
	return chunk.Finish(ctx, tx, changed, "")
}

func (bf *backfiller) recalculate(ctx context.Context, tx pgx.Tx, chunk *backfill.Chunk, users []int32) (changed int, err error) {
	from, to := chunk.Dates()
	byUser := make(map[int32][]dayRange, len(users))
	for _, user := range users {
		byUser[user] = []dayRange{{from: daysOf(from), to: daysOf(to)}}
	}
	return bf.recalculator.recalculate(ctx, tx, byUser)
}

// salvage works a chunk that the database refused user by user, each in a
// savepoint, and records whom it refused and why.
func (bf *backfiller) salvage(ctx context.Context, tx pgx.Tx, batch []*river.Job[backfillArgs]) error {
	args := batch[0].Args
	if args.Chunk == 0 {
		return groupcommit.ErrNotSalvaged
	}
	chunk, err := backfill.Lock(ctx, tx, args.BackfillID, args.Chunk)
	if err != nil || chunk == nil {
		return err
	}
	changed := 0
	var refused []string
	for _, user := range chunk.Users {
		var changedOfUser int
		err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) (err error) {
			changedOfUser, err = bf.recalculate(ctx, tx, chunk, []int32{user})
			return err
		})
		switch {
		case err == nil:
			changed += changedOfUser
		case pgfault.Of(err) == pgfault.Data:
			refused = append(refused, fmt.Sprintf("user %d: %s", user, err))
		default:
			return err
		}
	}
	return chunk.Finish(ctx, tx, changed, strings.Join(refused, "; "))
}
