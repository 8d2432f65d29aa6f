package lane

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// ErrNotSalvaged is returned by a kind's Salvage for a job that it cannot salvage.
var ErrNotSalvaged = errors.New("not salvaged")

// Salvage works, part by part, a job that the database refused as a whole.
// Refused parts may be left out if the kind records them.
type Salvage struct {
	try   func(apply func(context.Context, pgx.Tx, *pgx.Batch) (Writes, error)) error
	tries *int
	begun bool // the savepoint of the whole job exists
	rest  []byte
}

// TriesLeft reports whether the transaction has room for n more tries.
func (s *Salvage) TriesLeft(n int) bool {
	if !s.begun {
		n++
	}
	return *s.tries+n <= maxTries
}

// Try works a part. It returns why the database refused it, nil if it did not,
// and an error if the transaction cannot continue.
func (s *Salvage) Try(apply func(context.Context, pgx.Tx, *pgx.Batch) (Writes, error)) (refusedBecause, err error) {
	err = s.try(apply)
	var refused *refusal
	if errors.As(err, &refused) {
		return refused.err, nil
	}
	return nil, err
}

// Keep leaves the job in the queue with these arguments, its remaining parts,
// instead of completing it.
func (s *Salvage) Keep(args []byte) { s.rest = args }

// tryPart is try for a part of a job.
func (t *turn[T]) tryPart(apply func(context.Context, pgx.Tx, *pgx.Batch) (Writes, error)) error {
	return t.try(func(ctx context.Context, first *pgx.Batch) (Writes, error) { return apply(ctx, t.tx, first) }, nil)
}
