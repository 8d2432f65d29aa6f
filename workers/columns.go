package workers

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
)

// syncedColumn is one column of `activities` that ingest writes.
type syncedColumn struct {
	name  string
	array string                                         // type of the array that carries its values
	of    func(activities []*jobs.Activity) (any, error) // the values, in the order given
}

// syncedColumns are all columns of an upsert besides activity_id, user_id, date
// and ingest_job_id. The results and what a person types are not among them.
var syncedColumns = []syncedColumn{
	text("name", func(a *jobs.Activity) *string { return a.Name }),
	text("type", func(a *jobs.Activity) *string { return a.Type }),
	text("sport_type", func(a *jobs.Activity) *string { return a.SportType }),
	number("distance_miles", func(a *jobs.Activity) *float64 { return a.DistanceMiles }),
	number("elevation_gain_feet", func(a *jobs.Activity) *float64 { return a.ElevationGainFeet }),
	number("elevation_load_miles", func(a *jobs.Activity) *float64 { return a.ElevationLoadMiles }),
	number("total_load_miles", func(a *jobs.Activity) *float64 { return a.TotalLoadMiles }),
	number("avg_heart_rate", func(a *jobs.Activity) *float64 { return a.AvgHeartRate }),
	number("max_heart_rate", func(a *jobs.Activity) *float64 { return a.MaxHeartRate }),
	number("duration_minutes", func(a *jobs.Activity) *float64 { return a.DurationMinutes }),
	number("trimp", func(a *jobs.Activity) *float64 { return a.Trimp }),
	number("time_in_zone1", func(a *jobs.Activity) *float64 { return a.TimeInZone1 }),
	number("time_in_zone2", func(a *jobs.Activity) *float64 { return a.TimeInZone2 }),
	number("time_in_zone3", func(a *jobs.Activity) *float64 { return a.TimeInZone3 }),
	number("time_in_zone4", func(a *jobs.Activity) *float64 { return a.TimeInZone4 }),
	number("time_in_zone5", func(a *jobs.Activity) *float64 { return a.TimeInZone5 }),
	number("average_speed_mph", func(a *jobs.Activity) *float64 { return a.AverageSpeedMph }),
	number("cycling_equivalent_miles", func(a *jobs.Activity) *float64 { return a.CyclingEquivalentMiles }),
	number("cycling_elevation_factor", func(a *jobs.Activity) *float64 { return a.CyclingElevationFactor }),
	number("swimming_equivalent_miles", func(a *jobs.Activity) *float64 { return a.SwimmingEquivalentMiles }),
	number("strength_equivalent_miles", func(a *jobs.Activity) *float64 { return a.StrengthEquivalentMiles }),
	number("rowing_equivalent_miles", func(a *jobs.Activity) *float64 { return a.RowingEquivalentMiles }),
	number("backcountry_skiing_equivalent_miles", func(a *jobs.Activity) *float64 { return a.BackcountrySkiingEquivalentMiles }),
	integer("strength_rpe", func(a *jobs.Activity) *int32 { return a.StrengthRPE }),
	text("trimp_calculation_method", func(a *jobs.Activity) *string { return a.TrimpCalculationMethod }),
	integer("hr_stream_sample_count", func(a *jobs.Activity) *int32 { return a.HRStreamSampleCount }),
	column("trimp_processed_at", "timestamp[]", trimpProcessedAt),
	text("start_time", func(a *jobs.Activity) *string { return a.StartTime }),
	text("device_name", func(a *jobs.Activity) *string { return a.DeviceName }),
	number("avg_temp_f", func(a *jobs.Activity) *float64 { return a.AvgTempF }),
	number("trimp_dynamic", func(a *jobs.Activity) *float64 { return a.TrimpDynamic }),
}

func text(name string, field func(*jobs.Activity) *string) syncedColumn {
	return column(name, "text[]", func(a *jobs.Activity) (pgtype.Text, error) {
		if s := field(a); s != nil {
			return pgtype.Text{String: *s, Valid: true}, nil
		}
		return pgtype.Text{}, nil
	})
}

func number(name string, field func(*jobs.Activity) *float64) syncedColumn {
	return column(name, "float8[]", func(a *jobs.Activity) (pgtype.Float8, error) {
		if x := field(a); x != nil {
			return pgtype.Float8{Float64: *x, Valid: true}, nil
		}
		return pgtype.Float8{}, nil
	})
}

func integer(name string, field func(*jobs.Activity) *int32) syncedColumn {
	return column(name, "int4[]", func(a *jobs.Activity) (pgtype.Int4, error) {
		if n := field(a); n != nil {
			return pgtype.Int4{Int32: *n, Valid: true}, nil
		}
		return pgtype.Int4{}, nil
	})
}

func trimpProcessedAt(a *jobs.Activity) (pgtype.Timestamp, error) {
	if a.TrimpProcessedAt == nil {
		return pgtype.Timestamp{}, nil
	}
	ts, err := jobs.ParseTimestamp(*a.TrimpProcessedAt)
	if err != nil {
		return pgtype.Timestamp{}, fmt.Errorf("activity %d: trimp_processed_at: %w", a.ActivityID, err)
	}
	return pgtype.Timestamp{Time: ts.Truncate(time.Microsecond), Valid: true}, nil
}

// column returns a column whose array is nil, for NULL, when it would hold
// nothing but NULLs. unnest of several arrays makes the same of it, and most
// columns are of sports that are rare.
func column[V comparable](name, array string, value func(*jobs.Activity) (V, error)) syncedColumn {
	return syncedColumn{name: name, array: array, of: func(activities []*jobs.Activity) (any, error) {
		var null V
		var values pgtype.FlatArray[V]
		for i, a := range activities {
			v, err := value(a)
			if err != nil {
				return nil, err
			}
			if v == null {
				continue
			}
			if values == nil {
				values = make(pgtype.FlatArray[V], len(activities))
			}
			values[i] = v
		}
		return values, nil
	}}
}

// resultColumns are the columns of acwr.Values, in the order of resultsOf.
var resultColumns = []string{
	"seven_day_avg_load", "twentyeight_day_avg_load", "seven_day_avg_trimp", "twentyeight_day_avg_trimp",
	"acute_chronic_ratio", "trimp_acute_chronic_ratio", "normalized_divergence",
}

// columnTypesQuery reads the types of the columns as this database has them,
// with their lengths and scales.
const columnTypesQuery = `
SELECT attname, format_type(atttypid, atttypmod)
FROM pg_attribute
WHERE attrelid = 'activities'::regclass AND attnum > 0 AND NOT attisdropped`

// upsertQuery builds the statement that writes the activities which differ from
// their rows, and returns the ids of those it wrote.
//
// Its shape: one text for every batch size, so it is prepared once. Values are
// cast to the types of this database's columns before they are compared,
// because 12.3456 is what numeric(5,2) stores as 12.35. The UPDATE's WHERE
// takes no lock and writes no WAL for rows that are right, which
// ON CONFLICT DO UPDATE … WHERE would. New rows are inserted in key order, so
// that two transactions cannot wait for each other; a row that somebody else
// inserted in between is returned by neither branch. Results that are NULL leave
// those of the row as they are.
func upsertQuery(ctx context.Context, pool *dbpool.Pool) (string, error) {
	types, err := columnTypes(ctx, pool)
	if err != nil {
		return "", fmt.Errorf("read the columns of activities: %w", err)
	}
	var names, params, casts, assignments, stored []string
	for i, c := range syncedColumns {
		typ, ok := types[c.name]
		if !ok {
			return "", fmt.Errorf("activities has no column %s; run: worker migrate up", c.name)
		}
		names = append(names, c.name)
		params = append(params, fmt.Sprintf("$%d::%s", i+5, c.array))
		casts = append(casts, fmt.Sprintf("raw.%s::%s AS %s", c.name, typ, c.name))
		assignments = append(assignments, fmt.Sprintf("%s = new.%s", c.name, c.name))
		stored = append(stored, "old."+c.name)
	}
	var results, keeps, oldResults []string
	for i, name := range resultColumns {
		results = append(results, name)
		params = append(params, fmt.Sprintf("$%d::real[]", i+5+len(syncedColumns)))
		assignments = append(assignments, fmt.Sprintf("%s = coalesce(new.%s, old.%s)", name, name, name))
		keeps = append(keeps, fmt.Sprintf("coalesce(new.%s, old.%s)", name, name))
		oldResults = append(oldResults, "old."+name)
	}
	list, all := strings.Join(names, ", "), strings.Join(append(names[:len(names):len(names)], results...), ", ")
	return `
-- name: upsert_activities
WITH new AS MATERIALIZED (
	SELECT raw.activity_id, raw.user_id, raw.date, raw.ingest_job_id, ` + strings.Join(casts, ", ") + `, raw.` + strings.Join(results, ", raw.") + `
	FROM unnest($1::bigint[], $2::int[], $3::date[], $4::bigint[], ` + strings.Join(params, ", ") + `)
		AS raw (activity_id, user_id, date, ingest_job_id, ` + all + `)
), changed AS (
	UPDATE activities AS old
	SET date = new.date, ingest_job_id = new.ingest_job_id, ` + strings.Join(assignments, ", ") + `
	FROM new
	WHERE old.activity_id = new.activity_id AND old.user_id = new.user_id
	  AND (old.date, ` + strings.Join(append(stored, oldResults...), ", ") + `)
		IS DISTINCT FROM (new.date, new.` + strings.ReplaceAll(list, ", ", ", new.") + `, ` + strings.Join(keeps, ", ") + `)
	RETURNING old.activity_id
), added AS (
	INSERT INTO activities (activity_id, user_id, date, ingest_job_id, ` + all + `)
	SELECT activity_id, user_id, date, ingest_job_id, ` + all + `
	FROM new
	WHERE NOT EXISTS (SELECT FROM activities AS old WHERE old.activity_id = new.activity_id)
	ORDER BY activity_id
	ON CONFLICT (activity_id) DO NOTHING
	RETURNING activity_id
)
SELECT activity_id FROM changed UNION ALL SELECT activity_id FROM added`, nil
}

func columnTypes(ctx context.Context, pool *dbpool.Pool) (map[string]string, error) {
	rows, err := pool.Query(ctx, columnTypesQuery)
	if err != nil {
		return nil, err
	}
	types := map[string]string{}
	var name, typ string
	_, err = pgx.ForEachRow(rows, []any{&name, &typ}, func() error {
		types[name] = typ
		return nil
	})
	return types, err
}
