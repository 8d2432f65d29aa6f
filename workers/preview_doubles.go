package workers

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/trainingmonkey/worker/internal/trainingload"
	"github.com/trainingmonkey/worker/jobs"
)

// LikelyDouble is an activity that, once stored, would likely be the same training
// as another of the day with a smaller id.
type LikelyDouble struct {
	UserID     int32
	Date       string
	ActivityID int64
	EarlierID  int64 // the first that it resembles
}

// recordedDay is the day on which an activity counts, and the recording by which it is
// compared.
type recordedDay struct {
	decision
	userID int32
	given  bool // it is among the activities
	row    recordingRow
}

// storedRecordingsQuery reads activities by id, as storedQuery does.
const storedRecordingsQuery = `
-- name: read_recordings
SELECT activity_id, coalesce(user_id, 0), CASE WHEN isfinite(date) THEN date ELSE '0001-01-01' END, coalesce(ingest_day_from_utc, false), sport_type, type,
       CASE WHEN isfinite(date) THEN start_time END, distance_miles::float8, duration_minutes::float8
FROM activities WHERE activity_id = ANY($1::bigint[])`

// storedDaysQuery reads the activities stored on days of users, along the index on both.
// A row without an id is no double.
const storedDaysQuery = `
-- name: read_recorded_days
SELECT activity_id, a.user_id, a.date, coalesce(ingest_day_from_utc, false), sport_type, type, start_time, distance_miles::float8, duration_minutes::float8
FROM unnest($1::int[], $2::date[]) AS day (user_id, date)
JOIN activities AS a ON a.user_id = day.user_id AND a.date = day.date
WHERE activity_id IS NOT NULL`

// LikelyDoubles returns the doubles that would exist if the activities were enqueued now
// and no other job waited, ordered by user, date and id. At least one of each pair is
// among the activities. It only reads; if tx is nil, it only compares the activities with
// each other.
func LikelyDoubles(ctx context.Context, tx pgx.Tx, activities []jobs.Activity) ([]LikelyDouble, error) {
	known := map[int64]recordedDay{}
	if tx != nil {
		ids := make([]int64, len(activities))
		for i := range activities {
			ids[i] = activities[i].ActivityID
		}
		if err := readRecordings(ctx, tx, known, storedRecordingsQuery, ids); err != nil {
			return nil, err
		}
	}
	days := map[userDay]bool{}
	gone := map[int64]bool{} // whose stored rows do not count, because they would be deleted
	for i := range activities {
		a := &activities[i]
		before, exists := known[a.ActivityID]
		after, remains := afterIngest(before, exists, a)
		if gone[a.ActivityID] = !remains; !remains {
			delete(known, a.ActivityID)
			continue
		}
		known[a.ActivityID] = after
		if after.given {
			days[userDay{after.userID, after.Date}] = true
		}
	}
	if tx != nil {
		stored := map[int64]recordedDay{}
		var userIDs []int32
		var dates []time.Time
		for day := range days {
			userIDs, dates = append(userIDs, day.userID), append(dates, toDate(day.date))
		}
		if err := readRecordings(ctx, tx, stored, storedDaysQuery, userIDs, dates); err != nil {
			return nil, err
		}
		for id, r := range stored {
			if _, isKnown := known[id]; !isKnown && !gone[id] {
				known[id] = r
			}
		}
	}
	return findDoubles(known), nil
}

func readRecordings(ctx context.Context, tx pgx.Tx, into map[int64]recordedDay, query string, args ...any) error {
	rows, _ := tx.Query(ctx, query, args...)
	var id int64
	var r recordedDay
	var date time.Time
	_, err := pgx.ForEachRow(rows, append([]any{&id, &r.userID, &date, &r.FromUTC}, r.row.targets()...), func() error {
		r.Date, r.Start = toDays(date), r.row.start.String
		into[id] = r
		return nil
	})
	if err != nil {
		return fmt.Errorf("read what doubles are compared by: %w", err)
	}
	return nil
}

// afterIngest returns the recording as it would be after the activity is stored.
func afterIngest(before recordedDay, exists bool, a *jobs.Activity) (after recordedDay, remains bool) {
	stated := recordedDay{userID: a.UserID, given: true, row: statedRecording(a)}
	stated.Date, stated.Start, stated.FromUTC = daysSinceEpoch(a.Date), orZero(a.StartTime), a.DayFromUTC
	switch {
	case exists && before.userID != a.UserID:
		return before, true // it will be rejected
	case a.Deleted || a.Unloaded && !exists:
		return stated, false
	case !isLayer(a) || !exists:
		return stated, true
	}
	a = asLayer(a)
	after = recordedDay{decision: before.after(a), userID: a.UserID, given: true, row: statedRecording(a).over(before.row)}
	after.row.start.String, after.row.start.Valid = after.Start, after.Start != ""
	return after, true
}

// statedRecording returns an activity's recording, in the precision of the columns.
func statedRecording(a *jobs.Activity) (r recordingRow) {
	text := func(s *string) (t pgtype.Text) {
		if s != nil {
			t.String, t.Valid = *s, true
		}
		return t
	}
	number := func(x *float64) (f pgtype.Float8) {
		if x != nil {
			f.Float64, f.Valid = float64(float32(*x)), true
		}
		return f
	}
	r.sport, r.typ, r.start = text(a.SportType), text(a.Type), text(a.StartTime)
	r.miles, r.minutes = number(a.DistanceMiles), number(a.DurationMinutes)
	return r
}

func findDoubles(known map[int64]recordedDay) (found []LikelyDouble) {
	byDay := map[userDay][]int64{} // ids ascending
	for _, id := range slices.Sorted(maps.Keys(known)) {
		day := userDay{known[id].userID, known[id].Date}
		byDay[day] = append(byDay[day], id)
	}
	for day, ids := range byDay {
		recordings, given := make([]trainingload.Recording, len(ids)), make([]bool, len(ids))
		for i, id := range ids {
			recordings[i], given[i] = known[id].row.recording(), known[id].given
			for j := range i {
				if (given[i] || given[j]) && trainingload.Resembles(recordings[j], recordings[i]) {
					found = append(found, LikelyDouble{day.userID, toDate(day.date).Format(time.DateOnly), id, ids[j]})
					break
				}
			}
		}
	}
	slices.SortFunc(found, func(a, b LikelyDouble) int {
		return cmp.Or(cmp.Compare(a.UserID, b.UserID), cmp.Compare(a.Date, b.Date), cmp.Compare(a.ActivityID, b.ActivityID))
	})
	return found
}
