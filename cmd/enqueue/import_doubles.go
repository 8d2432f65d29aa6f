package main

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/workers"
)

// comparedAtOnce is how many activities of an import are compared with each other: about
// ten years of two sources. It bounds memory, which is a few hundred bytes per activity.
const comparedAtOnce = 10_000

// importDoubles finds the activities that will likely be doubles once the import is worked.
type importDoubles struct {
	firstFew
	waiting []jobs.Activity // stripped to the compared fields
}

// note adds the next activity. If tx is nil, the import is only compared with itself.
func (d *importDoubles) note(ctx context.Context, tx pgx.Tx, a jobs.Activity) error {
	d.waiting = append(d.waiting, jobs.Activity{
		ActivityID: a.ActivityID, UserID: a.UserID, Date: a.Date, Deleted: a.Deleted, Partial: a.Partial, DayFromUTC: a.DayFromUTC, Unloaded: a.Unloaded,
		Type: a.Type, SportType: a.SportType, StartTime: a.StartTime, DistanceMiles: a.DistanceMiles, DurationMinutes: a.DurationMinutes,
	})
	if len(d.waiting) < comparedAtOnce {
		return nil
	}
	return d.compare(ctx, tx)
}

// compare counts the doubles among the activities noted since, and among stored ones.
func (d *importDoubles) compare(ctx context.Context, tx pgx.Tx) error {
	found, err := workers.LikelyDoubles(ctx, tx, d.waiting)
	if err != nil {
		return err
	}
	d.waiting = d.waiting[:0]
	for _, f := range found {
		d.add("activity %d of user %d on %s: like activity %d", f.ActivityID, f.UserID, f.Date, f.EarlierID)
	}
	return nil
}
