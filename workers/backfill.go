package workers

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/lane"
	"github.com/trainingmonkey/worker/jobs"
)

// backfiller corrects the results of a chunk's users.
type backfiller struct {
	recalculator *recalculator
	enqueuer     *jobs.Enqueuer
	chunkRows    int
}

type backfillJob = lane.Job[jobs.ACWRBackfill]

// kind describes backfill jobs to their lane, which works one per turn.
func (bf *backfiller) kind() lane.Kind[jobs.ACWRBackfill] {
	return lane.Kind[jobs.ACWRBackfill]{
		Name:    jobs.KindACWRBackfill,
		Decode:  decodeArgs[jobs.ACWRBackfill],
		Apply:   bf.apply,
		Salvage: bf.salvage,
		Probe:   bf.probe,
	}
}

// probe queues the statements of a chunk without rows.
func (bf *backfiller) probe(b *pgx.Batch) {
	backfill.Probe(b)
	bf.recalculator.probe(b)
}

// apply works the batch's only job: a chunk, or the planning.
func (bf *backfiller) apply(ctx context.Context, tx pgx.Tx, first *pgx.Batch, batch []*backfillJob) (lane.Writes, error) {
	if err := tx.SendBatch(ctx, first).Close(); err != nil {
		return lane.Writes{}, err
	}
	args := batch[0].Args
	if args.Chunk == 0 {
		return lane.Writes{}, backfill.Plan(ctx, tx, bf.enqueuer, args.BackfillID, bf.chunkRows)
	}
	chunk, err := backfill.Lock(ctx, tx, args.BackfillID, args.Chunk)
	if err != nil || chunk == nil {
		return lane.Writes{}, err
	}
	wrong, err := bf.recalculate(ctx, tx, chunk, chunk.Users)
	if err != nil {
		return lane.Writes{}, err
	}
	b := wrong.batch()
	chunk.Finish(b, len(wrong), "")
	return lane.Writes{Batch: b}, nil
}

func (bf *backfiller) recalculate(ctx context.Context, tx pgx.Tx, chunk *backfill.Chunk, users []int32) (resultRows, error) {
	from, to := chunk.Dates()
	byUser := make(map[int32][]dayRange, len(users))
	for _, user := range users {
		byUser[user] = []dayRange{{from: toDays(from), to: toDays(to)}}
	}
	changed := newChanges(byUser)
	first := &pgx.Batch{}
	queueUserLocks(first, changed.users, nil)
	return bf.recalculator.recalculate(ctx, tx, first, changed)
}

// salvage works a refused chunk user by user, and records the users that the database
// refuses and why. It locks all users before it works the first.
func (bf *backfiller) salvage(ctx context.Context, s *lane.Salvage, job *backfillJob) error {
	args := job.Args
	if args.Chunk == 0 {
		return lane.ErrNotSalvaged
	}
	var chunk *backfill.Chunk
	lock := func(ctx context.Context, tx pgx.Tx, first *pgx.Batch) (_ lane.Writes, err error) {
		if err := tx.SendBatch(ctx, first).Close(); err != nil {
			return lane.Writes{}, err
		}
		if chunk, err = backfill.Lock(ctx, tx, args.BackfillID, args.Chunk); err != nil || chunk == nil {
			return lane.Writes{}, err
		}
		b := &pgx.Batch{}
		queueUserLocks(b, chunk.Users, nil)
		return lane.Writes{Batch: b}, nil
	}
	if refused, err := s.Try(lock); err != nil || refused != nil || chunk == nil {
		return cmp.Or(err, refused)
	}
	total := 0
	var refusals []string
	parts := [][]int32{chunk.Users}
	for len(parts) > 0 && s.TriesLeft(2) {
		users := parts[0]
		parts = parts[1:]
		changed := 0
		refused, err := s.Try(func(ctx context.Context, tx pgx.Tx, first *pgx.Batch) (lane.Writes, error) {
			if err := tx.SendBatch(ctx, first).Close(); err != nil {
				return lane.Writes{}, err
			}
			wrong, err := bf.recalculate(ctx, tx, chunk, users)
			changed = len(wrong)
			return lane.Writes{Batch: wrong.batch()}, err
		})
		switch {
		case err != nil:
			return err
		case refused == nil:
			total += changed
		case len(users) > 1:
			half := len(users) / 2
			parts = append([][]int32{users[:half], users[half:]}, parts...)
		default:
			refusals = append(refusals, fmt.Sprintf("user %d: %s", users[0], refused))
		}
	}
	for _, users := range parts {
		refusals = append(refusals, fmt.Sprintf("users %d to %d: not tried, too many of the chunk were refused", users[0], users[len(users)-1]))
	}
	refused, err := s.Try(func(ctx context.Context, tx pgx.Tx, first *pgx.Batch) (lane.Writes, error) {
		b := &pgx.Batch{}
		chunk.Finish(b, total, strings.Join(refusals, "; "))
		return lane.Writes{Batch: b}, tx.SendBatch(ctx, first).Close()
	})
	return cmp.Or(err, refused)
}
