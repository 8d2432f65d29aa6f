package workers

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/lane"
)

// salvage stores a refused job without the activities that the database refuses: those go
// to ingest_rejects, the others commit. A job of one activity is retried, because the
// reason may go away, and only its last attempt records the reject. Activities for which
// the transaction has no tries left stay in the job.
func (in *ingester) salvage(_ context.Context, s *lane.Salvage, job *ingestJob) error {
	if len(job.Args.items) == 1 && job.Attempt+1 < job.MaxAttempts {
		return lane.ErrNotSalvaged
	}
	sv := salvager{in: in, salvage: s, job: job}
	items := job.Args.kept(job.ID)
	if err := sv.store(items); err != nil {
		return err
	}
	if err := sv.reject(); err != nil {
		return err
	}
	if len(sv.left) == 0 {
		return sv.strip(items)
	}
	rest, err := encodeIngest(sv.left)
	s.Keep(rest)
	return err
}

// salvageParts is the number of parts into which refused activities are split.
// With ten, finding one bad activity among a thousand takes at most 31 tries.
const salvageParts = 10

// salvager searches one job's activities for the refused ones, each try in a savepoint.
type salvager struct {
	in      *ingester
	salvage *lane.Salvage
	job     *ingestJob
	refused []ingestItem
	left    []ingestItem
}

func (s *salvager) store(items []ingestItem) error {
	if !s.salvage.TriesLeft(2) { // this try, and the one that records the rejects
		s.left = append(s.left, items...)
		return nil
	}
	because, err := s.try(items)
	switch {
	case err != nil:
		return err
	case because == nil:
		return nil
	case len(items) > 1:
		for part := range slices.Chunk(items, (len(items)+salvageParts-1)/salvageParts) {
			if err := s.store(part); err != nil {
				return err
			}
		}
		return nil
	}
	refused := items[0]
	if refused.fault == nil {
		refused.fault = fmt.Errorf("refused by the database: %w", because)
	}
	s.refused = append(s.refused, refused)
	return nil
}

// reject records all refused activities, in one statement.
func (s *salvager) reject() error {
	if len(s.refused) == 0 {
		return nil
	}
	because, err := s.try(s.refused)
	switch {
	case err != nil:
		return err
	case because != nil: // the rejects themselves are refused
		return lane.ErrNotSalvaged
	}
	return nil
}

// strip removes purged athletes' activities from the job.
func (s *salvager) strip(kept []ingestItem) error {
	if len(kept) == len(s.job.Args.items) {
		return nil
	}
	refused, err := s.salvage.Try(func(ctx context.Context, tx pgx.Tx, first *pgx.Batch) (lane.Writes, error) {
		b := &pgx.Batch{}
		if err := s.in.strip(b, map[int64][]ingestItem{s.job.ID: kept}); err != nil {
			return lane.Writes{}, err
		}
		return lane.Writes{Batch: b}, tx.SendBatch(ctx, first).Close()
	})
	return cmp.Or(err, refused)
}

func (s *salvager) try(items []ingestItem) (refusedBecause, err error) {
	return s.salvage.Try(func(ctx context.Context, tx pgx.Tx, first *pgx.Batch) (lane.Writes, error) {
		part := *s.job
		part.Args = ingestArgs{items: items}
		return s.in.apply(ctx, tx, first, []*ingestJob{&part})
	})
}
