package lane

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// ErrNotSalvaged is what a kind's Salvage returns for a job that it cannot help.
var ErrNotSalvaged = errors.New("not salvaged")

// Salvage works the parts of one job that the database refused as a whole. What
// is refused may be left out, as long as the kind keeps account of it.
type Salvage struct {
	try   func(apply func(context.Context, pgx.Tx, *pgx.Batch) (Writes, error)) error
	tries *int
	begun bool // the savepoint of the whole is there
	rest  []byte
}

// TriesLeft reports whether the transaction has room for so many tries.
func (s *Salvage) TriesLeft(n int) bool {
	if !s.begun {
		n++
	}
	return *s.tries+n <= maxTries
}

// Try works a part. It returns whether the database refused it and why, and an
// error when that ends the transaction.
func (s *Salvage) Try(apply func(context.Context, pgx.Tx, *pgx.Batch) (Writes, error)) (refusedBecause, err error) {
	err = s.try(apply)
	var refused *refusal
	if errors.As(err, &refused) {
		return refused.err, nil
	}
	return nil, err
}

// Keep leaves the job in the queue with these arguments, what is left of it,
// instead of completing it.
func (s *Salvage) Keep(args []byte) { s.rest = args }

// tryPart is try for a part of a job.
func (t *turn[T]) tryPart(apply func(context.Context, pgx.Tx, *pgx.Batch) (Writes, error)) error {
	return t.try(func(ctx context.Context, first *pgx.Batch) (Writes, error) { return apply(ctx, t.tx, first) }, nil)
}
