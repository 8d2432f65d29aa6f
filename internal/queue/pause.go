package queue

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/dbpool"
)

// AllQueues names every queue at once.
const AllQueues = "*"

// PauseQueue stops the workers from claiming from a queue; jobs that are being worked are
// finished. A queue that no worker ever served is an error.
func (a *Admin) PauseQueue(ctx context.Context, name string) error {
	return a.changeQueue(ctx, "pause", name, func(ctx context.Context, tx pgx.Tx) error { return a.client.QueuePauseTx(ctx, tx, name, nil) })
}

// ResumeQueue lets workers claim from a paused queue again.
func (a *Admin) ResumeQueue(ctx context.Context, name string) error {
	return a.changeQueue(ctx, "resume", name, func(ctx context.Context, tx pgx.Tx) error { return a.client.QueueResumeTx(ctx, tx, name, nil) })
}

func (a *Admin) changeQueue(ctx context.Context, act, name string, change func(context.Context, pgx.Tx) error) error {
	err := a.pool.InTx(ctx, change)
	if errors.Is(err, rivertype.ErrNotFound) {
		err = errors.New("no worker has ever served a queue of this name; see: enqueue queues list")
	}
	if err != nil {
		return fmt.Errorf("%s queue %q: %w", act, name, err)
	}
	return nil
}

const pausedQueuesQuery = `
-- name: paused_queues
SELECT name FROM {schema}.river_queue WHERE paused_at IS NOT NULL`

// PausedQueues returns the names of the queues from which no worker claims.
func (s Schema) PausedQueues(ctx context.Context, db dbpool.Querier) ([]string, error) {
	return dbpool.Collect(ctx, db, "read paused queues", pgx.RowTo[string], s.SQL(pausedQueuesQuery))
}
