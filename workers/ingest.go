package workers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/internal/groupcommit"
	"github.com/trainingmonkey/worker/internal/pgfault"
	"github.com/trainingmonkey/worker/jobs"
)

// ingestWorker stores the activities of activity_ingest jobs, many jobs in one
// transaction.
type ingestWorker struct {
	river.WorkerDefaults[ingestArgs]
	lanes lanes[ingestArgs]
}

// Work implements river.Worker.
func (w *ingestWorker) Work(ctx context.Context, job *river.Job[ingestArgs]) error {
	if job.Args.fault != nil {
		return river.JobCancel(job.Args.fault)
	}
	return w.lanes.work(ctx, job)
}

// Timeout implements river.Worker.
func (w *ingestWorker) Timeout(*river.Job[ingestArgs]) time.Duration { return noTimeout }

// Middleware implements river.Worker.
func (w *ingestWorker) Middleware(job *rivertype.JobRow) []rivertype.WorkerMiddleware {
	return []rivertype.WorkerMiddleware{w.lanes.of(job.Queue).Middleware()}
}

// ingester applies batches of ingest jobs.
type ingester struct {
	upsert         string // see upsertQuery
	waiting        string // see olderVersionsMayWaitQuery
	enqueuer       *jobs.Enqueuer
	recalcPriority int // of what its commits enqueue
	shards         int // see groupcommit.Kind
}

// kind is what the engine has to know of ingest jobs.
func (in *ingester) kind() groupcommit.Kind[ingestArgs] {
	return groupcommit.Kind[ingestArgs]{
		Weigh:   func(job *river.Job[ingestArgs]) int { return len(job.Args.items) },
		Shard:   func(job *river.Job[ingestArgs]) int { return shardOf(job.Args.items[0].activity.UserID, in.shards) },
		Apply:   in.apply,
		Salvage: in.salvage,
	}
}

// apply reads what the jobs meet, decides, and writes the difference: a
// constant number of round trips, whatever the number of jobs.
func (in *ingester) apply(ctx context.Context, tx pgx.Tx, batch []*river.Job[ingestArgs]) error {
	changed, err := in.store(ctx, tx, batch)
	if err != nil {
		return err
	}
	return in.enqueueRecalc(ctx, tx, changed)
}

// store is apply without the recalculation: it returns the dates around which
// results changed, by user.
func (in *ingester) store(ctx context.Context, tx pgx.Tx, batch []*river.Job[ingestArgs]) (changed map[int32][]int32, err error) {
	plan, olderMayWait, err := in.read(ctx, tx, batch)
	if err != nil {
		return nil, err
	}
	planted(batch)
	for _, job := range batch {
		for i := range job.Args.items {
			plan.add(job.ID, &job.Args.items[i])
		}
	}
	written, err := in.write(ctx, tx, plan)
	if err != nil {
		return nil, err
	}
	if olderMayWait {
		if err := recordVersions(ctx, tx, plan.confirmed(written)); err != nil {
			return nil, err
		}
	}
	return plan.changedDates(written), nil
}

// storedQuery reads, of the activities in the batch, what the decision needs.
const storedQuery = `
-- name: read_stored
SELECT activity_id, user_id, date, coalesce(total_load_miles, 0), coalesce(trimp, 0), coalesce(ingest_job_id, 0)
FROM activities
WHERE activity_id = ANY($1::bigint[])`

// restDaysQuery reads the rest-day placeholders, whose ids are negative, of the
// days in the batch.
const restDaysQuery = `
-- name: read_rest_days
SELECT rest.activity_id, rest.user_id, rest.date, coalesce(rest.total_load_miles, 0), coalesce(rest.trimp, 0)
FROM unnest($1::int[], $2::date[]) AS trained (user_id, date)
JOIN activities AS rest ON rest.user_id = trained.user_id AND rest.date = trained.date
WHERE rest.activity_id < 0`

// recordedQuery reads the versions that no row tells of.
const recordedQuery = `
-- name: read_recorded
SELECT user_id, activity_id, job_id
FROM ingest_versions
WHERE (user_id, activity_id) IN (SELECT * FROM unnest($1::int[], $2::bigint[]))`

// olderVersionsMayWaitQuery tells whether an ingest job older than the newest of
// this batch, and not of it, may still be worked: then a version that needs no
// write must be recorded, or the older one would pass for the newest when its
// turn comes. It looks at a bounded number of jobs, by the index that River
// fetches with; beyond that it says yes, which is always safe, and costs the
// recording of what needs no write. More than a few are a backlog.
const olderVersionsMayWaitQuery = `
-- name: older_versions_may_wait
SELECT coalesce(bool_or(id < $2), false) OR count(*) = 100
FROM (
	SELECT id FROM {schema}.river_job
	WHERE state IN ('available', 'running', 'retryable', 'scheduled', 'pending', 'discarded', 'cancelled')
	  AND priority IN (1, 2, 3, 4) AND queue IN ('` + jobs.QueueIngest + `', '` + jobs.QueueIngestBulk + `') AND NOT id = ANY($1::bigint[])
	LIMIT 100
) AS unfinished`

// read takes the locks of all users in the batch and reads after that, in one
// round trip.
func (in *ingester) read(ctx context.Context, tx pgx.Tx, batch []*river.Job[ingestArgs]) (plan *ingestPlan, olderMayWait bool, err error) {
	keys := keysOf(batch)
	stored, recorded, restDays := map[int64]storedActivity{}, map[versionKey]int64{}, map[userDay][]restDay{}

	statements := &pgx.Batch{}
	queueUserLocks(statements, keys.users)
	statements.Queue(storedQuery, keys.activityIDs).Query(func(rows pgx.Rows) error {
		var id int64
		var row storedActivity
		var date time.Time
		_, err := pgx.ForEachRow(rows, []any{&id, &row.userID, &date, &row.load, &row.trimp, &row.version}, func() error {
			row.date = daysOf(date)
			stored[id] = row
			return nil
		})
		return err
	})
	statements.Queue(restDaysQuery, keys.userIDs, keys.dates).Query(func(rows pgx.Rows) error {
		var rest restDay
		var userID int32
		var date time.Time
		_, err := pgx.ForEachRow(rows, []any{&rest.activityID, &userID, &date, &rest.load, &rest.trimp}, func() error {
			day := userDay{userID, daysOf(date)}
			restDays[day] = append(restDays[day], rest)
			return nil
		})
		return err
	})
	statements.Queue(recordedQuery, keys.userIDs, keys.activityIDs).Query(func(rows pgx.Rows) error {
		var key versionKey
		var jobID int64
		_, err := pgx.ForEachRow(rows, []any{&key.userID, &key.activityID, &jobID}, func() error {
			recorded[key] = jobID
			return nil
		})
		return err
	})
	statements.Queue(in.waiting, keys.jobIDs, keys.jobIDs[len(keys.jobIDs)-1]).QueryRow(func(row pgx.Row) error {
		return row.Scan(&olderMayWait)
	})
	if err := tx.SendBatch(ctx, statements).Close(); err != nil {
		return nil, false, fmt.Errorf("lock users and read activities: %w", err)
	}
	return newIngestPlan(stored, recorded, restDays), olderMayWait, nil
}

// batchKeys are the ids of the jobs and the distinct users, both ascending, and
// of each valid item its user, activity and date.
type batchKeys struct {
	jobIDs         []int64
	users, userIDs []int32
	activityIDs    []int64
	dates          []time.Time
}

func keysOf(batch []*river.Job[ingestArgs]) (keys batchKeys) {
	distinct := map[int32]struct{}{}
	for _, job := range batch {
		keys.jobIDs = append(keys.jobIDs, job.ID)
		for i := range job.Args.items {
			item := &job.Args.items[i]
			if item.fault == nil {
				a := &item.activity
				distinct[a.UserID] = struct{}{}
				keys.userIDs, keys.activityIDs = append(keys.userIDs, a.UserID), append(keys.activityIDs, a.ActivityID)
				keys.dates = append(keys.dates, dateOf(daysSinceEpoch(a.Date)))
			}
		}
	}
	keys.users = slices.Sorted(maps.Keys(distinct))
	return keys
}

// removeQuery deletes rows, locking them in key order first.
const removeQuery = `
-- name: remove_activities
DELETE FROM activities WHERE activity_id IN (
	SELECT activity_id FROM activities WHERE activity_id = ANY($1::bigint[]) ORDER BY activity_id FOR UPDATE)`

// rejectQuery records activities that do not become rows.
const rejectQuery = `
-- name: record_rejects
INSERT INTO ingest_rejects (job_id, user_id, activity_id, payload, reason)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::jsonb[], $5::text[])`

// recordVersionsQuery keeps the newest version of each activity and user.
const recordVersionsQuery = `
-- name: record_versions
INSERT INTO ingest_versions AS old (user_id, activity_id, job_id)
SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[])
ON CONFLICT (user_id, activity_id) DO UPDATE
SET job_id = excluded.job_id, recorded_at = excluded.recorded_at
WHERE old.job_id < excluded.job_id`

// write removes, records and upserts in one round trip and returns the ids that
// the upsert wrote. An activity that the plan has as new and that was not
// written met somebody else's insert: the batch runs again and sees it.
func (in *ingester) write(ctx context.Context, tx pgx.Tx, plan *ingestPlan) (written map[int64]bool, err error) {
	written = map[int64]bool{}
	statements := &pgx.Batch{}
	if ids := plan.removals(); len(ids) > 0 {
		statements.Queue(removeQuery, ids)
	}
	if records := plan.tombstones(); len(records.jobIDs) > 0 {
		statements.Queue(recordVersionsQuery, records.userIDs, records.activityIDs, records.jobIDs)
	}
	queueRejects(statements, plan.rejects)
	activities, versions := plan.upserts()
	if len(activities) > 0 {
		args, err := upsertArgs(activities, versions)
		if err != nil {
			return nil, err
		}
		statements.Queue(in.upsert, args...).Query(func(rows pgx.Rows) error {
			var id int64
			_, err := pgx.ForEachRow(rows, []any{&id}, func() error {
				written[id] = true
				return nil
			})
			return err
		})
	}
	if statements.Len() == 0 {
		return written, nil
	}
	if err := tx.SendBatch(ctx, statements).Close(); err != nil {
		return nil, fmt.Errorf("write activities: %w", err)
	}
	for _, a := range activities {
		if row, wasStored := plan.stored[a.ActivityID]; !written[a.ActivityID] && (!wasStored || row.userID != a.UserID) {
			return nil, fmt.Errorf("insert activity %d: %w", a.ActivityID, pgfault.ErrRaced)
		}
	}
	return written, nil
}

func upsertArgs(activities []*jobs.Activity, versions []int64) ([]any, error) {
	ids, userIDs, dates := make([]int64, len(activities)), make([]int32, len(activities)), make([]time.Time, len(activities))
	for i, a := range activities {
		ids[i], userIDs[i], dates[i] = a.ActivityID, a.UserID, dateOf(daysSinceEpoch(a.Date))
	}
	args := []any{ids, userIDs, dates, versions}
	for _, column := range syncedColumns {
		values, err := column.of(activities)
		if err != nil {
			return nil, err
		}
		args = append(args, values)
	}
	return args, nil
}

func queueRejects(statements *pgx.Batch, rejects []reject) {
	if len(rejects) == 0 {
		return
	}
	var jobIDs []int64
	var userIDs, activityIDs []*int64
	var payloads, reasons []string
	for _, r := range rejects {
		userID, activityID := partialIDs(r.item.payload)
		jobIDs = append(jobIDs, r.jobID)
		userIDs, activityIDs = append(userIDs, userID), append(activityIDs, activityID)
		payloads, reasons = append(payloads, string(r.item.payload)), append(reasons, withoutNUL(r.reason))
	}
	statements.Queue(rejectQuery, jobIDs, userIDs, activityIDs, payloads, reasons)
}

func recordVersions(ctx context.Context, tx pgx.Tx, records versionRecords) error {
	if len(records.jobIDs) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, recordVersionsQuery, records.userIDs, records.activityIDs, records.jobIDs); err != nil {
		return fmt.Errorf("record versions: %w", err)
	}
	return nil
}

// nearby dates, at most so many days apart, go in one range: under most
// settings their windows overlap.
const nearby = 28

// enqueueRecalc inserts one acwr_recalc job for all users whose dates changed;
// more than one only where one would be larger than a job may be.
func (in *ingester) enqueueRecalc(ctx context.Context, tx pgx.Tx, changed map[int32][]int32) error {
	var ranges []jobs.DateRange
	for _, userID := range slices.Sorted(maps.Keys(changed)) {
		var days []dayRange
		for _, d := range changed[userID] {
			days = append(days, dayRange{d, d})
		}
		for _, r := range mergeRanges(days, nearby) {
			ranges = append(ranges, jobs.DateRange{
				UserID: userID,
				From:   dateOf(r.from).Format(time.DateOnly),
				To:     dateOf(r.to).Format(time.DateOnly),
			})
		}
	}
	for part := range slices.Chunk(ranges, jobs.MaxRangesPerJob) {
		if _, err := in.enqueuer.RecalcTx(ctx, tx, in.recalcPriority, jobs.ACWRRecalc{Ranges: part}); err != nil {
			return err
		}
	}
	return nil
}
