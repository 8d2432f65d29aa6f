package main

import (
	"context"
	"fmt"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
)

// followBackfill shows a backfill's progress until it no longer runs. Ctrl-C ends the
// wait, not the backfill.
func followBackfill(ctx context.Context, pool *dbpool.Pool, schema string, id int64, asJSON bool, io streams) error {
	b := cli.NewBar(io.err, 0, "backfill", "rows")
	defer func() { b.Finish() }()
	ticker := time.NewTicker(waitInterval)
	defer ticker.Stop()
	var last backfill.Backfill
	moved, asked := time.Now(), false
	for {
		now, err := backfill.Get(ctx, pool, schema, id)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("no longer waiting; backfill %d goes on. Come back with: enqueue backfill status %d --wait", id, id)
		case err != nil:
			return fmt.Errorf("check backfill %d: %w; it goes on", id, err)
		case now.State != backfill.Running:
			b.Finish()
			return showBackfill(ctx, pool, schema, now, asJSON, io)
		case now.Rows != last.Rows:
			moved = time.Now()
		case time.Since(moved) > idleNotice && !asked:
			asked = true
			why, err := whyIdle(ctx, pool, queue.Schema(schema), jobs.QueueBackfill)
			if err != nil {
				return fmt.Errorf("check backfill %d: %w; it goes on", id, err)
			}
			b.Say(why)
		}
		if b.Total() != now.Rows.Total {
			b.Resize(now.Rows.Total)
		}
		b.Describe(fmt.Sprintf("%s users, %d rows changed", share(now.UserCount), now.RowsChanged))
		b.Set(now.Rows.Done)
		last = now
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}
