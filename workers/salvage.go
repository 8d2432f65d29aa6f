package workers

import (
	"context"
	"errors"
	"fmt"

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
	return in.enqueueRecalc(ctx, tx, s.changed)
}

// salvager bisects one job's activities, each half in a savepoint.
type salvager struct {
	in      *ingester
	tx      pgx.Tx
	job     *river.Job[ingestArgs]
	changed map[int32][]int32
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
		half := len(items) / 2
		return errors.Join(s.store(ctx, items[:half]), s.store(ctx, items[half:]))
	case items[0].fault != nil:
		return fmt.Errorf("record a reject: %w", err)
	}
	refused := items[0]
	refused.fault = fmt.Errorf("refused by the database: %w", err)
	return s.store(ctx, []ingestItem{refused})
}

func (s *salvager) inSavepoint(ctx context.Context, items []ingestItem) (changed map[int32][]int32, err error) {
	part := &river.Job[ingestArgs]{JobRow: s.job.JobRow, Args: ingestArgs{items: items}}
	err = pgx.BeginFunc(ctx, s.tx, func(savepoint pgx.Tx) error {
		changed, err = s.in.store(ctx, savepoint, []*river.Job[ingestArgs]{part})
		return err
	})
	return changed, err
}
