package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/jobs"
)

// connectionPerQuery is what the project replaces: three statements per activity, each
// on its own connection. The clients divide the users among themselves, so that no two
// work for the same user.
func (r *rig) connectionPerQuery(clients int) func(ctx context.Context, database string) (outcome, error) {
	return func(ctx context.Context, database string) (o outcome, err error) {
		pool, err := r.open(ctx, database)
		if err != nil {
			return o, err
		}
		activities, err := readArriving(ctx, pool)
		pool.Close()
		if err != nil {
			return o, err
		}
		errs := make([]error, clients)
		var wg sync.WaitGroup
		started := time.Now()
		for client := range clients {
			wg.Go(func() {
				for i := range activities {
					if int(activities[i].UserID)%clients == client && errs[client] == nil {
						errs[client] = storeWithoutPool(ctx, r.server.URL(database), &activities[i])
					}
				}
			})
		}
		wg.Wait()
		o.seconds = time.Since(started).Seconds()
		return o, errors.Join(errs...)
	}
}

// upsertOne stores one activity.
const upsertOne = `
INSERT INTO activities (` + trainingColumns + `)
VALUES ($1, $2, $3::date, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT (activity_id) DO UPDATE
SET user_id = excluded.user_id, date = excluded.date, name = excluded.name, type = excluded.type, sport_type = excluded.sport_type,
    distance_miles = excluded.distance_miles, elevation_gain_feet = excluded.elevation_gain_feet, total_load_miles = excluded.total_load_miles,
    trimp = excluded.trimp, avg_heart_rate = excluded.avg_heart_rate, duration_minutes = excluded.duration_minutes, start_time = excluded.start_time`

func upsertOneArgs(a *jobs.Activity) []any {
	return []any{
		a.ActivityID, a.UserID, a.Date, a.Name, a.Type, a.SportType, a.DistanceMiles, a.ElevationGainFeet, a.TotalLoadMiles,
		a.Trimp, a.AvgHeartRate, a.DurationMinutes, a.StartTime,
	}
}

// historyQuery reads the days that an activity's results depend on, and those whose
// results depend on it.
const historyQuery = `
SELECT date - $2::date, array_agg(coalesce(total_load_miles, 0) ORDER BY activity_id), array_agg(coalesce(trimp, 0) ORDER BY activity_id)
FROM activities
WHERE user_id = $1 AND date BETWEEN $2::date - 27 AND $2::date + 27
GROUP BY date ORDER BY date`

// updateDays sets the results of a user's days.
const updateDays = `
UPDATE activities AS a
SET seven_day_avg_load = load7, twentyeight_day_avg_load = load28, seven_day_avg_trimp = trimp7, twentyeight_day_avg_trimp = trimp28,
    acute_chronic_ratio = external, trimp_acute_chronic_ratio = internal, normalized_divergence = divergence
FROM unnest($3::int[], $4::real[], $5::real[], $6::real[], $7::real[], $8::real[], $9::real[], $10::real[])
	AS d (day, load7, load28, trimp7, trimp28, external, internal, divergence)
WHERE a.user_id = $1 AND a.date = $2::date + d.day`

func storeWithoutPool(ctx context.Context, url string, a *jobs.Activity) error {
	err := connected(ctx, url, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, upsertOne, upsertOneArgs(a)...)
		return err
	})
	if err != nil {
		return err
	}
	var days []int32
	var columns [7][]float32
	err = connected(ctx, url, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, historyQuery, a.UserID, a.Date)
		if err != nil {
			return err
		}
		calculator := acwr.NewCalculator(acwr.DefaultSettings(), acwr.RoundNone)
		var day int32
		var loads, trimps []float32
		_, err = pgx.ForEachRow(rows, []any{&day, &loads, &trimps}, func() error {
			activities := make([]acwr.Activity, len(loads))
			for i := range activities {
				activities[i] = acwr.Activity{Load: loads[i], Trimp: trimps[i]}
			}
			v := calculator.Next(int(day), activities...)
			if day < 0 {
				return nil
			}
			days = append(days, day)
			for i, value := range []float32{
				v.SevenDayAvgLoad, v.TwentyEightDayAvgLoad, v.SevenDayAvgTrimp, v.TwentyEightDayAvgTrimp,
				v.AcuteChronicRatio, v.TrimpAcuteChronicRatio, v.NormalizedDivergence,
			} {
				columns[i] = append(columns[i], value)
			}
			return nil
		})
		return err
	})
	if err != nil {
		return err
	}
	return connected(ctx, url, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, updateDays, a.UserID, a.Date, days,
			columns[0], columns[1], columns[2], columns[3], columns[4], columns[5], columns[6])
		return err
	})
}

// connected runs one statement on its own connection, without describing it first,
// which would be another round trip.
func connected(ctx context.Context, url string, do func(conn *pgx.Conn) error) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	return errors.Join(do(conn), conn.Close(ctx))
}
