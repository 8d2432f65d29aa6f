package admin

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
)

// ReadWriting reads whether the live workers write results, without counting rows.
func ReadWriting(ctx context.Context, db dbpool.Querier) (Writing, error) {
	processes, err := dbpool.Collect(ctx, db, "read what workers write", pgx.RowToStructByPos[Process], processesQuery, queue.DeadAfter)
	if err != nil {
		return Writing{}, err
	}
	return combineWriting(processes), nil
}

// WhyStale returns why rows of an athlete are stale: results are not written, a job is
// still to come, or there is none. The text continues a sentence.
func WhyStale(ctx context.Context, db dbpool.Querier, riverSchema string, userID int32) (string, error) {
	w, err := ReadWriting(ctx, db)
	if err != nil {
		return "", err
	}
	found, all, err := queue.Schema(riverSchema).ComesForUser(ctx, db, userID)
	switch {
	case err != nil:
		return "", err
	case w.Withheld(userID) != "" && w.Mode != WriteUnknown:
		return w.Withheld(userID), nil
	case found && w.Mode == WriteUnknown:
		return "its recalculation waits; whether it will be written is not known: no live worker says", nil
	case found:
		return "its recalculation is still to come", nil
	case !all:
		return fmt.Sprintf("its recalculation may be among the many jobs that wait; otherwise: enqueue recalc --user %d", userID), nil
	}
	return fmt.Sprintf("no recalculation of it waits; have it done with: enqueue recalc --user %d", userID), nil
}
