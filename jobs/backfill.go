package jobs

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
)

// QueueBackfill has the chunks of backfills. Its workers are its own, so that a
// backfill never occupies those of live jobs.
const QueueBackfill = "backfill"

// KindACWRBackfill is the kind of ACWRBackfill in river_job.kind.
const KindACWRBackfill = "acwr_backfill"

// ACWRBackfill corrects the ACWR columns of one chunk of a backfill's users and advances
// the backfill's progress in the same commit. Chunk 0 is the planning job: it creates the
// next chunks and their jobs.
type ACWRBackfill struct {
	BackfillID int64 `json:"backfill_id"`
	Chunk      int32 `json:"chunk"`
}

// Kind implements river.JobArgs.
func (ACWRBackfill) Kind() string { return KindACWRBackfill }

// InsertOpts implements river.JobArgsWithInsertOpts. Planning has priority, because it
// determines the total of the progress.
func (args ACWRBackfill) InsertOpts() river.InsertOpts {
	if args.Chunk == 0 {
		return river.InsertOpts{Queue: QueueBackfill, Priority: PriorityLive}
	}
	return river.InsertOpts{Queue: QueueBackfill, Priority: PriorityBulk}
}

func (args ACWRBackfill) insertOpts(int) river.InsertOpts { return args.InsertOpts() }

// Validate returns the first fault of the args, or nil.
func (args ACWRBackfill) Validate() error {
	if args.BackfillID <= 0 {
		return fmt.Errorf("backfill_id: must be a positive integer, got %d", args.BackfillID)
	}
	if args.Chunk < 0 {
		return fmt.Errorf("chunk: must not be negative, got %d", args.Chunk)
	}
	return nil
}

// BackfillTx inserts one job for each chunk within the caller's transaction and
// returns the jobs' ids in order.
func (e *Enqueuer) BackfillTx(ctx context.Context, tx pgx.Tx, args ...ACWRBackfill) ([]int64, error) {
	return insert(ctx, tx, e, 0, args)
}
