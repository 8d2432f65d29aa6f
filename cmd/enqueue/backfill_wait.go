package main

import (
	"context"
	"fmt"

	"github.com/trainingmonkey/worker/internal/backfill"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/jobs"
)

// followBackfill shows a backfill's progress until it no longer runs. Ctrl-C ends the
// wait, not the backfill.
func (db *database) followBackfill(ctx context.Context, id int64) error {
	b := db.NewBar(0, "backfill", "row", "rows")
	defer b.Finish()
	var now backfill.Backfill
	err := db.poll(ctx, []string{jobs.QueueBackfill}, b.Say, func(ctx context.Context) (at int64, over bool, err error) {
		if now, err = backfill.Get(ctx, db.pool, db.schema, id); err != nil {
			return 0, false, err
		}
		b.Resize(now.Rows.Total)
		b.Describe(fmt.Sprintf("%s, %s changed", countedShare(now.UserCount, "user", "users"), cli.Counted(now.RowsChanged, "row", "rows")))
		b.Set(now.Rows.Done)
		return now.Rows.Done + now.Rows.Total, now.State != backfill.Running, nil
	})
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("no longer waiting; backfill %d goes on. Come back with: enqueue backfill status %d --wait", id, id)
	case err != nil:
		return fmt.Errorf("check backfill %d: %w; it goes on", id, err)
	}
	b.Finish()
	return db.showBackfill(ctx, now)
}
