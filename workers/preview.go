package workers

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/jobs"
)

// Change is how an activity would change its stored row if it were enqueued now and no
// other job waited.
type Change struct {
	ActivityID int64
	New        bool // there is no row
	OtherUser  bool // the row belongs to another user: the activity would be rejected
	DateWas    string
	Date       string // that the row would have
	KeepsDay   bool   // although the activity states another
	LoadWas    float32
	Load       float32
	TRIMPWas   float32
	TRIMP      float32
	KeepsTRIMP bool // although the activity states another
}

// Changes reports whether day or loads would change.
func (c Change) Changes() bool {
	return c.DateWas != c.Date || c.LoadWas != c.Load || c.TRIMPWas != c.TRIMP
}

// PreviewIngest returns what the activities would change, in their order. It only
// reads. Activities that neither have nor would get a row are left out.
func PreviewIngest(ctx context.Context, tx pgx.Tx, activities []jobs.Activity) ([]Change, error) {
	ids := make([]int64, len(activities))
	for i := range activities {
		ids[i] = activities[i].ActivityID
	}
	rows, _ := tx.Query(ctx, storedQuery, ids)
	stored, err := readStored(rows)
	if err != nil {
		return nil, fmt.Errorf("read stored activities: %w", err)
	}
	var changes []Change
	for i := range activities {
		a := &activities[i]
		row, isStored := stored[a.ActivityID]
		if isStored || !a.Unloaded && !a.Deleted {
			changes = append(changes, newChange(row, isStored, a))
		}
	}
	return changes, nil
}

func newChange(row storedActivity, isStored bool, a *jobs.Activity) Change {
	c := Change{ActivityID: a.ActivityID, New: !isStored, OtherUser: isStored && row.userID != a.UserID, Date: a.Date, Load: single(a.TotalLoadMiles), TRIMP: single(a.Trimp)}
	if !isStored || c.OtherUser {
		return c
	}
	c.DateWas, c.LoadWas, c.TRIMPWas = toDate(row.Date).Format(time.DateOnly), orZero(row.Load), orZero(row.TRIMP)
	if isLayer(a) {
		a = asLayer(a)
		after := row.after(a)
		c.Date, c.Load, c.TRIMP = toDate(after.Date).Format(time.DateOnly), orZero(after.Load), orZero(after.TRIMP)
		c.KeepsDay, c.KeepsTRIMP = c.Date != a.Date, a.Trimp != nil && c.TRIMP != single(a.Trimp)
	}
	return c
}
