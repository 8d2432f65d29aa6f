package workers

import (
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/internal/lane"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
)

// ingester stores the activities of activity_ingest jobs with their results.
type ingester struct {
	statements     activityStatements
	schema         queue.Schema
	enqueuer       *jobs.Enqueuer
	recalculator   *recalculator
	recalcPriority int // priority of the jobs that its commits enqueue
}

type ingestJob = lane.Job[ingestArgs]

// kind describes ingest jobs to their lane.
func (in *ingester) kind() lane.Kind[ingestArgs] {
	return lane.Kind[ingestArgs]{
		Name:    jobs.KindActivityIngest,
		Decode:  decodeIngest,
		Weigh:   func(args *ingestArgs) int { return len(args.items) },
		ShareBy: []string{"activities", "0", "user_id"},
		Lock: func(b *pgx.Batch, batch []*ingestJob) {
			queueUserLocks(b, batchUsers(batch), func(p purges) {
				for _, job := range batch {
					job.Args.purged = p
				}
			})
		},
		Apply:   in.apply,
		Salvage: in.salvage,
		Probe:   in.probe,
	}
}

// apply reads the stored state, plans, and writes everything including results, in a
// constant number of round trips for any number of jobs. A batch with athletes who ignore
// likely doubles takes one more.
func (in *ingester) apply(ctx context.Context, tx pgx.Tx, first *pgx.Batch, batch []*ingestJob) (lane.Writes, error) {
	keys := newBatchKeys(batch)
	stored, err := in.read(ctx, tx, first, keys)
	if err != nil {
		return lane.Writes{}, err
	}
	if err := stored.checkVersions(batch[0].Args.purged); err != nil {
		return lane.Writes{}, err
	}
	injectFault(batch)
	plan := newIngestPlan(stored.activities, stored.versions, stored.restDays)
	stripped := map[int64][]ingestItem{}
	for _, job := range batch {
		items := job.Args.kept(job.ID)
		for i := range items {
			plan.add(job.ID, &items[i])
		}
		if len(items) < len(job.Args.items) {
			stripped[job.ID] = items
		}
	}
	compared, err := in.readCompared(ctx, tx, plan, stored)
	if err != nil {
		return lane.Writes{}, err
	}
	results := in.results(plan, stored, compared)
	writes, err := in.write(plan, results, keys.jobIDs)
	if err != nil {
		return lane.Writes{}, err
	}
	return writes, in.strip(writes.Batch, stripped)
}

// strip removes a purged athlete's activities from jobs that the purge could not
// see, because they had not been committed.
func (in *ingester) strip(b *pgx.Batch, stripped map[int64][]ingestItem) error {
	for _, id := range slices.Sorted(maps.Keys(stripped)) {
		rest, err := encodeIngest(stripped[id])
		if err != nil {
			return err
		}
		in.schema.SetArgs(b, id, rest)
	}
	return nil
}

// probe queues the statements of apply without rows.
func (in *ingester) probe(b *pgx.Batch) {
	b.Queue(storedQuery, nil)
	b.Queue(restDaysQuery, nil, nil, nil)
	b.Queue(recordedQuery, nil, nil)
	b.Queue(removeQuery, nil)
	b.Queue(rejectQuery, nil, nil, nil, nil, nil)
	b.Queue(recordVersionsQuery, nil, nil, nil)
	nothing := make([]any, 4+len(syncedColumns)+len(acwr.Columns))
	b.Queue(in.statements.whole.insert, nothing...)
	b.Queue(in.statements.whole.update, nothing...)
	nothing = append(nothing, nil, nil, nil)
	b.Queue(in.statements.partial.insert, nothing...)
	b.Queue(in.statements.partial.update, nothing...)
	b.Queue(in.statements.compared, nil, nil, nil, nil, nil, nil, nil)
	in.recalculator.probe(b)
}

// batchKeys has the ids of the jobs, ascending, the user and activity of each
// valid item, and the users' days.
type batchKeys struct {
	jobIDs      []int64
	userIDs     []int32
	activityIDs []int64
	days        changes
}

func newBatchKeys(batch []*ingestJob) (keys batchKeys) {
	days := map[int32][]dayRange{}
	for _, job := range batch {
		keys.jobIDs = append(keys.jobIDs, job.ID)
		for i := range job.Args.items {
			item := &job.Args.items[i]
			if item.fault == nil {
				a := item.activity
				day := daysSinceEpoch(a.Date)
				days[a.UserID] = append(days[a.UserID], dayRange{day, day})
				keys.userIDs, keys.activityIDs = append(keys.userIDs, a.UserID), append(keys.activityIDs, a.ActivityID)
			}
		}
	}
	keys.days = newChanges(days)
	return keys
}

// batchUsers returns the users of the items, ascending. It includes those of invalid items,
// because no reject may be recorded for an athlete whose data were purged.
func batchUsers(batch []*ingestJob) []int32 {
	users := map[int32]struct{}{}
	for _, job := range batch {
		for i := range job.Args.items {
			if userID, known := job.Args.items[i].userID(); known {
				users[userID] = struct{}{}
			}
		}
	}
	return sortedKeys(users)
}
