package main

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/jobs"
)

// limitInsert stores a chunk of the activities in memory.
const limitInsert = `
INSERT INTO activities (` + trainingColumns + `)
SELECT * FROM unnest($1::bigint[], $2::int[], $3::date[], $4::text[], $5::text[], $6::text[], $7::real[], $8::real[], $9::real[], $10::real[],
	$11::real[], $12::real[], $13::text[])`

// limit measures the server's limit: one session, one transaction, no queue, thousands
// of rows per statement, and one statement for the ACWR of all users.
func (r *rig) limit(ctx context.Context, database string) (o outcome, err error) {
	pool, err := r.open(ctx, database)
	if err != nil {
		return o, err
	}
	defer pool.Close()
	activities, err := readArriving(ctx, pool)
	if err != nil {
		return o, err
	}
	started := time.Now()
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		for chunk := range slices.Chunk(activities, 1000) {
			if _, err := tx.Exec(ctx, limitInsert, columnArrays(chunk)...); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, setBasedUpdate)
		return err
	})
	o.seconds = time.Since(started).Seconds()
	return o, err
}

// columnArrays returns one array for each of trainingColumns.
func columnArrays(activities []jobs.Activity) []any {
	n := len(activities)
	ids, users, dates := make([]int64, n), make([]int32, n), make([]string, n)
	var texts [4][]*string
	for i := range texts {
		texts[i] = make([]*string, n)
	}
	var floats [6][]*float64
	for i := range floats {
		floats[i] = make([]*float64, n)
	}
	for i, a := range activities {
		ids[i], users[i], dates[i] = a.ActivityID, a.UserID, a.Date
		for column, value := range []*string{a.Name, a.Type, a.SportType, a.StartTime} {
			texts[column][i] = value
		}
		for column, value := range []*float64{a.DistanceMiles, a.ElevationGainFeet, a.TotalLoadMiles, a.Trimp, a.AvgHeartRate, a.DurationMinutes} {
			floats[column][i] = value
		}
	}
	return []any{
		ids, users, dates, texts[0], texts[1], texts[2],
		floats[0], floats[1], floats[2], floats[3], floats[4], floats[5], texts[3],
	}
}
