package workers

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"github.com/trainingmonkey/worker/internal/groupcommit"
	"github.com/trainingmonkey/worker/internal/pgfault"
)

// salvage stores a job that the database refused, without the activities that
// it refuses: those go to ingest_rejects, their neighbours commit. A job of one
// activity has no neighbours to protect: it is tried again, for the reason may
// go away, and only its last attempt records it.
func (in *ingester) salvage(ctx context.Context, tx pgx.Tx, batch []*river.Job[ingestArgs]) error {
	job := batch[0]
	if len(job.Args.items) == 1 && job.Attempt < job.MaxAttempts {
		return groupcommit.ErrNotSalvaged
	}
	s := salvager{in: in, tx: tx, job: job, changed: map[int32][]int32{}}
	if err := s.store(ctx, job.Args.items); err != nil {
		return err
	}
	if err := s.reject(ctx); err != nil {
		return err
	}
	return in.enqueueRecalc(ctx, tx, s.changed)
}

// salvageParts is in how many parts refused activities are split. With ten,
// finding one culprit among a thousand takes at most 31 tries, and a thousand
// culprits take 1,111 (with two it would be 21 and 1,999): a job of nothing but
// refused activities must be done within the flush timeout, too.
const salvageParts = 10

// salvager searches one job's activities for the refused ones, each try in a
// savepoint.
type salvager struct {
	in      *ingester
	tx      pgx.Tx
	job     *river.Job[ingestArgs]
	changed map[int32][]int32
	refused []ingestItem
}

func (s *salvager) store(ctx context.Context, items []ingestItem) error {
	changed, err := s.inSavepoint(ctx, items)
	switch {
	case err == nil:
		for userID, dates := range changed {
			s.changed[userID] = append(s.changed[userID], dates...)
		}
		return nil
	case pgfault.Of(err) != pgfault.Data:
		return err
	case len(items) > 1:
		for part := range slices.Chunk(items, (len(items)+salvageParts-1)/salvageParts) {
			if err := s.store(ctx, part); err != nil {
				return err
			}
		}
		return nil
	case items[0].fault != nil:
		return fmt.Errorf("record a reject: %w", err)
	}
	refused := items[0]
	refused.fault = fmt.Errorf("refused by the database: %w", err)
	s.refused = append(s.refused, refused)
	return nil
}

// reject records all that was refused, in one statement.
func (s *salvager) reject(ctx context.Context) error {
	if len(s.refused) == 0 {
		return nil
	}
	if _, err := s.inSavepoint(ctx, s.refused); err != nil {
		return fmt.Errorf("record rejects: %w", err)
	}
	return nil
}

// inSavepoint stores the items, or leaves the transaction as it was. It releases
// the savepoint after a rollback as well, which pgx's nested transactions do
// not: a thousand of them would lie one within the other.
func (s *salvager) inSavepoint(ctx context.Context, items []ingestItem) (changed map[int32][]int32, err error) {
	if _, err := s.tx.Exec(ctx, "SAVEPOINT salvage", pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, err
	}
	end := "RELEASE SAVEPOINT salvage"
	part := &river.Job[ingestArgs]{JobRow: s.job.JobRow, Args: ingestArgs{items: items}}
	if changed, err = s.in.store(ctx, s.tx, []*river.Job[ingestArgs]{part}); err != nil {
		end = "ROLLBACK TO SAVEPOINT salvage; " + end
	}
	if _, endErr := s.tx.Exec(ctx, end, pgx.QueryExecModeSimpleProtocol); endErr != nil && err == nil {
		err = endErr
	}
	return changed, err
}
