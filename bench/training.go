package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/oracle"
	"github.com/trainingmonkey/worker/jobs"
)

// training is the activities of a number of users from their first to their last day of
// training. They train four days in five. Their ids are every, 2 × every, and so on.
type training struct {
	users, every int
	first, last  int
}

// amount returns the number of activities.
func (t training) amount() int { return t.users * (t.last - t.first + 1) }

// from returns a date before which there are no activities.
func (t training) from() time.Time {
	return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, t.first*5/4)
}

// trainingColumns are the columns of query; all exist in activities.
const trainingColumns = `activity_id, user_id, date, name, type, sport_type, distance_miles, elevation_gain_feet, total_load_miles, trimp,
	avg_heart_rate, duration_minutes, start_time`

// query selects the activities in chronological order, so that a user's rows are spread
// over the whole table.
func (t training) query() string {
	return fmt.Sprintf(`
SELECT d * 1000000::bigint + u AS activity_id, u AS user_id, date '2020-01-01' + (d * 5 + u %% 3) / 4 AS date,
       'Morning Run' AS name, 'Run' AS type, 'running' AS sport_type, ((u * 11 + d * 17) %% 96 / 8.0)::real AS distance_miles,
       ((u * 5 + d * 3) %% 900)::real AS elevation_gain_feet, ((u * 7 + d * 13) %% 80 / 8.0)::real AS total_load_miles,
       ((u * 3 + d * 29) %% 200)::real AS trimp, (110 + (u + d) %% 50)::real AS avg_heart_rate, (30 + d %% 60)::real AS duration_minutes,
       '07:30:00' AS start_time
FROM generate_series(%d, %d) AS d, generate_series(%d, %d, %d) AS u`, t.first, t.last, t.every, t.every*t.users, t.every)
}

// store inserts the activities into a database, without ACWR.
func (t training) store(ctx context.Context, r *rig, database string) error {
	if err := r.exec(ctx, database, `INSERT INTO activities (`+trainingColumns+`)`+t.query()); err != nil {
		return err
	}
	return r.exec(ctx, database, `VACUUM ANALYZE activities`)
}

// arrive inserts the activities into a table `arriving` of a database. It does not
// analyze the table activities, which is as new to the server as in a new installation.
func (t training) arrive(ctx context.Context, r *rig, database string) error {
	if err := r.exec(ctx, database, `CREATE TABLE arriving AS `+t.query()); err != nil {
		return err
	}
	return r.exec(ctx, database, `VACUUM ANALYZE arriving`)
}

// jobsOfArriving groups the arriving activities into jobs of a number of consecutive
// days of a user, in chronological order.
const jobsOfArriving = `
SELECT jsonb_agg(to_jsonb(arriving) ORDER BY activity_id) AS activities
FROM arriving
GROUP BY (activity_id / 1000000 - $1) / $2, user_id
ORDER BY (activity_id / 1000000 - $1) / $2, user_id`

// enqueue enqueues jobs of perJob activities in a database, like any program.
func (t training) enqueue(ctx context.Context, r *rig, database string, perJob int) error {
	err := r.exec(ctx, database, `SELECT count(river.enqueue_activity_ingest(activities, $3)) FROM (`+jobsOfArriving+`) AS job`, t.first, perJob, jobs.PriorityLive)
	if err != nil {
		return err
	}
	return r.exec(ctx, database, `VACUUM ANALYZE river.river_job`)
}

// readArriving reads the arriving activities in order.
func readArriving(ctx context.Context, pool *dbpool.Pool) ([]jobs.Activity, error) {
	rows, err := pool.Query(ctx, `SELECT to_json(arriving) FROM arriving ORDER BY activity_id`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (a jobs.Activity, err error) {
		var text []byte
		if err := row.Scan(&text); err != nil {
			return a, err
		}
		return a, json.Unmarshal(text, &a)
	})
}

// notStoredQuery counts the activities of arriving that are not stored unchanged, and
// stored ones that are not in arriving. The ids of arrivals, which come meanwhile, are
// above all others.
const notStoredQuery = `
SELECT (SELECT count(*) FROM (SELECT ` + trainingColumns + ` FROM arriving) AS new
        LEFT JOIN (SELECT ` + trainingColumns + ` FROM activities) AS stored USING (activity_id)
        WHERE (to_jsonb(new) = to_jsonb(stored)) IS NOT TRUE),
       (SELECT count(*) FROM activities WHERE activity_id < $1) - (SELECT count(*) FROM arriving)`

// check returns a check that what arrived is stored, beside the number of rows before,
// and that its ACWR is correct: all seven values of each row.
func (t training) check(before int) func(ctx context.Context, pool *dbpool.Pool) (fault string, err error) {
	return func(ctx context.Context, pool *dbpool.Pool) (fault string, err error) {
		var missing, more int
		if err := pool.QueryRow(ctx, notStoredQuery, firstArrival).Scan(&missing, &more); err != nil {
			return "", err
		}
		if missing > 0 || more != before {
			return fmt.Sprintf("%d activities are not stored as they arrived, %d others are stored instead of %d", missing, more, before), nil
		}
		from := t.from()
		wrong, total, err := oracle.CheckBy(ctx, pool, oracle.WrongQuery, nil, &from)
		if err != nil || total == 0 {
			return "", err
		}
		return fmt.Sprintf("%d rows, the first: %s", total, wrong[0]), nil
	}
}
