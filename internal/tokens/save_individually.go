package tokens

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// saveIndividually saves a batch of which the database refused some operations, for example
// because a user does not exist: in one transaction with a savepoint per operation.
func (s *Store) saveIndividually(ctx context.Context, operations []Operation) (outcomes []error, err error) {
	err = s.pool.InTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		outcomes = make([]error, len(operations))
		for i := range operations {
			var outcome []error
			err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) (err error) {
				outcome, err = s.saveIn(ctx, tx, operations[i:i+1], false)
				return err
			})
			switch {
			case err == nil:
				outcomes[i] = outcome[0]
			case dbpool.Classify(err) != dbpool.Data:
				return err
			default:
				outcomes[i] = fmt.Errorf("%w: %w", ErrNotStored, err)
				if err := auditRefusal(ctx, tx, &operations[i], outcomes[i]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return outcomes, err
}

// auditRefusal writes the audit row, unless the database refuses it as well.
func auditRefusal(ctx context.Context, tx pgx.Tx, op *Operation, refusal error) error {
	err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		queueAudits(batch, []*audit{newAudit(op, refusal)})
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil && dbpool.Classify(err) == dbpool.Data {
		return nil
	}
	return err
}
