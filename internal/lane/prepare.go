package lane

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/queue"
)

// prepare runs a turn's statements without jobs and rolls back: preparing them takes a
// session longer than working its first jobs, and after a deployment all sessions are new.
// Errors are ignored, because the first turn meets and reports them.
func (l *Lane[T]) prepare(ctx context.Context, loop int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.options.Timeout)
	defer cancel()
	tx, err := l.db.BeginTx(ctx, pgx.TxOptions{BeginQuery: l.begin})
	if err != nil {
		return
	}
	defer func() { _ = tx.Rollback(ctx) }()
	b := &pgx.Batch{}
	none, share := []queue.Job{}, queue.Share{Part: loop}
	l.options.Schema.Claim(b, l.options.Client, l.options.Queue, share, queue.Position{}, 0, &none)
	if l.options.Newest {
		l.options.Schema.ClaimNewest(b, l.options.Client, l.options.Queue, share, time.Time{}, 0, &none)
	}
	if l.kind.Probe != nil {
		l.kind.Probe(b)
	}
	l.options.Schema.Complete(b, l.attempt(), nil)
	_ = tx.SendBatch(ctx, b).Close()
}
