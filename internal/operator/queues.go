package operator

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"
)

// AllQueues names every queue at once.
const AllQueues = "*"

// PauseQueue stops the workers from fetching from a queue; what they work
// already is finished. A queue that no worker ever served is an error.
func (o *Operator) PauseQueue(ctx context.Context, name string) error {
	return o.changeQueue(ctx, "pause", name, func(ctx context.Context, tx pgx.Tx) error { return o.client.QueuePauseTx(ctx, tx, name, nil) })
}

// ResumeQueue ends PauseQueue.
func (o *Operator) ResumeQueue(ctx context.Context, name string) error {
	return o.changeQueue(ctx, "resume", name, func(ctx context.Context, tx pgx.Tx) error { return o.client.QueueResumeTx(ctx, tx, name, nil) })
}

func (o *Operator) changeQueue(ctx context.Context, what, name string, change func(context.Context, pgx.Tx) error) error {
	err := o.pool.InTx(ctx, change)
	if errors.Is(err, rivertype.ErrNotFound) {
		err = errors.New("no worker has ever served a queue of this name; see: enqueue queues list")
	}
	if err != nil {
		return fmt.Errorf("%s queue %q: %w", what, name, err)
	}
	return nil
}
