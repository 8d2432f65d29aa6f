package workers

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/trainingmonkey/worker/internal/lane"
)

// storedState is the stored state that a batch is planned against.
type storedState struct {
	activities map[int64]storedActivity
	versions   map[versionKey]recordedVersion
	restDays   map[userDay][]restDay
	settings   settingsByUser
	windows    []activityResults // of users in ascending order, by date and id
	cutOff     bool              // there were more rows than a transaction may read
	lastJob    int64             // the newest id that a job was given
}

// storedQuery reads the columns of the batch's activities that the decision needs. Rows
// that consist of partial versions are returned whole, as json, because building jsonb
// takes twice as long. A row without a user is nobody's: reading it fails, as an error of the
// job that has a version of it. One without a date has a date before those that a version may
// have, and no start, so that every version gives it both.
const storedQuery = `
-- name: read_stored
SELECT activity_id, user_id, CASE WHEN isfinite(date) THEN date ELSE '0001-01-01' END, total_load_miles, trimp, coalesce(trimp_calculation_method, ''),
       CASE WHEN isfinite(date) THEN coalesce(start_time, '') ELSE '' END, coalesce(ingest_day_from_utc, false), coalesce(ingest_job_id, 0),
       CASE WHEN ingest_alone THEN to_json(activities)::text END
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

// recordedQuery reads the recorded versions of the batch's activities.
const recordedQuery = `
-- name: read_recorded
SELECT user_id, activity_id, job_id, layers
FROM unnest($1::int[], $2::bigint[]) AS given (user_id, activity_id)
JOIN ingest_versions USING (user_id, activity_id)`

// maxWindowRows is how many rows of windows a transaction reads. Athletes
// beyond it are recalculated by a separate job.
const maxWindowRows = 100_000

// read reads the stored state in one round trip together with first.
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

// readStored reads the rows of storedQuery.
func readStored(rows pgx.Rows) (map[int64]storedActivity, error) {
	activities := map[int64]storedActivity{}
	var id int64
	var row storedActivity
	var date time.Time
	var load, trimp pgtype.Float4
	_, err := pgx.ForEachRow(rows, []any{&id, &row.userID, &date, &load, &trimp, &row.Method, &row.Start, &row.FromUTC, &row.version, &row.alone}, func() error {
		row.Date, row.Load, row.TRIMP = toDays(date), optional(load), optional(trimp)
		activities[id] = row
		row.alone = nil // the next row must not be read into it
		return nil
	})
	return activities, err
}

func optional(x pgtype.Float4) *float32 {
	if !x.Valid {
		return nil
	}
	return &x.Float32
}

// checkVersions returns an error if the ids of jobs went back below a stored version or
// a purge, because newer versions might be mistaken for older ones.
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
