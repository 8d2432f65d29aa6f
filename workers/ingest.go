package workers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
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

// apply reads the stored state once, plans, and writes once, results included: a constant
// number of round trips for any number of jobs. A batch with athletes who ignore likely
// doubles takes one more.
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

// strip removes a purged athlete's activities from jobs that the purge could not see
// because their enqueuers had not committed.
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

// storedQuery reads, of the activities in the batch, what the decision needs.
const storedQuery = `
-- name: read_stored
SELECT activity_id, user_id, date, total_load_miles, trimp, coalesce(trimp_calculation_method, ''),
       coalesce(start_time, ''), coalesce(ingest_day_from_utc, false), coalesce(ingest_job_id, 0),
       CASE WHEN ingest_alone THEN to_jsonb(activities)::text END
FROM activities
WHERE activity_id = ANY($1::bigint[])`

// restDaysQuery reads the rest-day placeholders, whose ids are negative, of the
// ranges of days in the batch.
const restDaysQuery = `
-- name: read_rest_days
SELECT rest.activity_id, rest.user_id, rest.date, coalesce(rest.total_load_miles, 0), coalesce(rest.trimp, 0)
FROM unnest($1::int[], $2::date[], $3::date[]) AS trained (user_id, first, last)
JOIN activities AS rest ON rest.user_id = trained.user_id AND rest.date BETWEEN trained.first AND trained.last
WHERE rest.activity_id < 0`

// recordedQuery reads the versions that no row records.
const recordedQuery = `
-- name: read_recorded
SELECT user_id, activity_id, job_id, layers
FROM unnest($1::int[], $2::bigint[]) AS given (user_id, activity_id)
JOIN ingest_versions USING (user_id, activity_id)`

// storedState is the stored state that a batch is planned against.
type storedState struct {
	activities map[int64]storedActivity
	versions   map[versionKey]recordedVersion
	restDays   map[userDay][]restDay
	settings   settingsByUser
	windows    []activityResults // of users in ascending order, by date and id
	cutOff     bool              // there were more of them than a transaction may read
	lastJob    int64             // the newest id that a job was given
}

// maxWindowRows is how many rows of windows a transaction reads. Athletes whose
// rows do not fit are recalculated by a job of their own.
const maxWindowRows = 100_000

// read reads everything at once, in one round trip with first.
func (in *ingester) read(ctx context.Context, tx pgx.Tx, first *pgx.Batch, keys batchKeys) (s storedState, err error) {
	s.versions, s.restDays = map[versionKey]recordedVersion{}, map[userDay][]restDay{}
	first.Queue(storedQuery, keys.activityIDs).Query(func(rows pgx.Rows) (err error) {
		s.activities, err = readStored(rows)
		return err
	})
	first.Queue(restDaysQuery, keys.days.userIDs, keys.days.firsts, keys.days.lasts).Query(func(rows pgx.Rows) error {
		var rest restDay
		var userID int32
		var date time.Time
		_, err := pgx.ForEachRow(rows, []any{&rest.activityID, &userID, &date, &rest.load, &rest.trimp}, func() error {
			day := userDay{userID, toDays(date)}
			s.restDays[day] = append(s.restDays[day], rest)
			return nil
		})
		return err
	})
	first.Queue(recordedQuery, keys.userIDs, keys.activityIDs).Query(func(rows pgx.Rows) error {
		var key versionKey
		var version recordedVersion
		_, err := pgx.ForEachRow(rows, []any{&key.userID, &key.activityID, &version.jobID, &version.layers}, func() error {
			s.versions[key] = version
			version.layers = nil // the next row must not be read into them
			return nil
		})
		return err
	})
	if in.recalculator.write == writeOn {
		first.Queue(settingsQuery, keys.days.users).Query(func(rows pgx.Rows) (err error) {
			s.settings, err = readSettings(rows)
			return err
		})
		first.Queue(windowsQuery, keys.days.userIDs, keys.days.firsts, keys.days.lasts, keys.activityIDs, maxWindowRows+1).Query(func(rows pgx.Rows) error {
			var row activityResults
			_, err := pgx.ForEachRow(rows, row.targets(), func() error {
				s.windows = append(s.windows, row)
				return nil
			})
			s.cutOff = len(s.windows) > maxWindowRows
			return err
		})
	}
	in.schema.LastID(first, &s.lastJob)
	if err := tx.SendBatch(ctx, first).Close(); err != nil {
		return s, fmt.Errorf("lock users and read activities: %w", err)
	}
	return s, nil
}

// checkVersions returns an error if the ids of jobs went back behind a stored version or
// a purge: then newer versions may be mistaken for older ones.
func (s storedState) checkVersions(purged purges) error {
	newest := int64(0)
	for _, through := range purged {
		newest = max(newest, through)
	}
	for _, row := range s.activities {
		newest = max(newest, row.version)
	}
	for _, version := range s.versions {
		newest = max(newest, version.jobID)
	}
	if err := (IDs{Last: s.lastJob, Stored: newest}).Err(); err != nil {
		return &lane.Fault{Err: err}
	}
	return nil
}

// probe queues the statements of apply without a row to work on.
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

// batchKeys are the ids of the jobs, ascending, the user and activity of each
// valid item, and the days of the users.
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

// batchUsers returns the users of the items, ascending. Those of invalid items are
// included: nothing may be recorded for an athlete whose data were purged.
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
SET job_id = excluded.job_id, recorded_at = excluded.recorded_at, layers = NULL
WHERE old.job_id < excluded.job_id`

// confirmVersionsQuery is recordVersionsQuery for versions that a row does not record, or
// not fully: where an older version may still be worked, or the record is outdated
// because an older version was placed below it.
func confirmVersionsQuery(schema queue.Schema) string {
	return `
-- name: confirm_versions
INSERT INTO ingest_versions AS old (user_id, activity_id, job_id, layers)
SELECT user_id, activity_id, job_id, layers
FROM unnest($1::int[], $2::bigint[], $3::bigint[], $7::jsonb[], $8::bool[]) AS given (user_id, activity_id, job_id, layers, replaces)
WHERE replaces OR ` + schema.OlderMayWait("$4::bigint", "$5::text[]", "$6::bigint[]") + `
ON CONFLICT (user_id, activity_id) DO UPDATE
SET job_id = excluded.job_id, recorded_at = excluded.recorded_at, layers = excluded.layers
WHERE old.job_id < excluded.job_id OR old.job_id = excluded.job_id AND excluded.layers IS NOT NULL`
}

// write queues everything that the plan changes. If another transaction inserted or
// deleted one of the rows meanwhile, the batch runs again and sees that.
func (in *ingester) write(plan *ingestPlan, results planResults, jobIDs []int64) (lane.Writes, error) {
	b := &pgx.Batch{}
	added, kept := plan.upserts()
	if ids := plan.removals(); len(ids) > 0 {
		b.Queue(removeQuery, ids)
	}
	if records := plan.tombstones(); len(records.jobIDs) > 0 {
		b.Queue(recordVersionsQuery, records.userIDs, records.activityIDs, records.jobIDs)
	}
	queueRejects(b, plan.rejects)
	written := map[int64]bool{}
	if len(added.activities) > 0 {
		args, err := added.args(results)
		if err != nil {
			return lane.Writes{}, err
		}
		b.Queue(in.statements.of(added).insert, args...).Query(func(rows pgx.Rows) error {
			var id int64
			if _, err := pgx.ForEachRow(rows, []any{&id}, func() error {
				written[id] = true
				return nil
			}); err != nil {
				return err
			}
			for _, a := range added.activities {
				if !written[a.ActivityID] {
					return fmt.Errorf("insert activity %d: the row was not inserted, by a trigger perhaps, or somebody else's was first: %w", a.ActivityID, dbpool.ErrRaced)
				}
			}
			return nil
		})
	}
	if len(kept.activities) > 0 {
		args, err := kept.args(results)
		if err != nil {
			return lane.Writes{}, err
		}
		b.Queue(in.statements.of(kept).update, args...).Query(func(rows pgx.Rows) error {
			var id int64
			var gone bool
			_, err := pgx.ForEachRow(rows, []any{&id, &gone}, func() error {
				if gone {
					return fmt.Errorf("update activity %d: somebody else has deleted the row, or given it to another user: %w", id, dbpool.ErrRaced)
				}
				written[id] = true
				return nil
			})
			return err
		})
	}
	if len(results.following) > 0 {
		results.following.queue(b)
	}
	after := func(ctx context.Context, tx pgx.Tx) error {
		if err := in.confirm(ctx, tx, plan.confirmed(written), jobIDs); err != nil {
			return err
		}
		return in.enqueueRecalc(ctx, tx, results.left)
	}
	return lane.Writes{Batch: b, After: after}, nil
}

func queueRejects(statements *pgx.Batch, rejects []reject) {
	if len(rejects) == 0 {
		return
	}
	var jobIDs []int64
	var userIDs, activityIDs []*int64
	var payloads, reasons []string
	for _, r := range rejects {
		payload := r.item.payload()
		userID, activityID := partialIDs(payload)
		jobIDs = append(jobIDs, r.jobID)
		userIDs, activityIDs = append(userIDs, userID), append(activityIDs, activityID)
		payloads, reasons = append(payloads, string(payload)), append(reasons, queue.WithoutNUL(r.reason))
	}
	statements.Queue(rejectQuery, jobIDs, userIDs, activityIDs, payloads, reasons)
}

// confirm records versions that needed no write if an older one may still be worked:
// otherwise the older one would later be mistaken for the newest.
func (in *ingester) confirm(ctx context.Context, tx pgx.Tx, records versionRecords, jobIDs []int64) error {
	if len(records.jobIDs) == 0 {
		return nil
	}
	query := confirmVersionsQuery(in.schema)
	queues := []string{jobs.QueueIngest, jobs.QueueIngestBulk}
	if _, err := tx.Exec(ctx, query, records.userIDs, records.activityIDs, records.jobIDs, slices.Max(jobIDs), queues, jobIDs, records.layers, records.replaces); err != nil {
		return fmt.Errorf("record versions: %w", err)
	}
	return nil
}

// enqueueRecalc inserts one acwr_recalc job for the changed dates whose results
// this commit does not contain; more than one only where one would be larger than
// a job may be.
func (in *ingester) enqueueRecalc(ctx context.Context, tx pgx.Tx, changed map[int32][]int32) error {
	var ranges []jobs.DateRange
	for _, userID := range slices.Sorted(maps.Keys(changed)) {
		ranges = append(ranges, recalcRanges(userID, changed[userID])...)
	}
	for part := range slices.Chunk(ranges, jobs.MaxRangesPerJob) {
		if _, err := in.enqueuer.RecalcTx(ctx, tx, in.recalcPriority, jobs.ACWRRecalc{Ranges: part}); err != nil {
			return err
		}
	}
	return nil
}
