package workers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/acwr"
	"github.com/trainingmonkey/worker/jobs"
)

// syncedColumn is one column of `activities` that ingest writes.
type syncedColumn struct {
	name  string
	array string                                         // type of the array that carries its values
	of    func(activities []*jobs.Activity) (any, error) // the values, in the order given
}

// syncedColumns are all columns of an upsert besides activity_id, user_id, date and
// ingest_job_id. They include neither the results nor the columns that people edit.
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
	column("trimp_processed_at", "timestamp[]", func(a *jobs.Activity) *string { return a.TrimpProcessedAt }, parseTimestamp),
	text("start_time", func(a *jobs.Activity) *string { return a.StartTime }),
	text("device_name", func(a *jobs.Activity) *string { return a.DeviceName }),
	number("avg_temp_f", func(a *jobs.Activity) *float64 { return a.AvgTempF }),
	number("trimp_dynamic", func(a *jobs.Activity) *float64 { return a.TrimpDynamic }),
}

func text(name string, field func(*jobs.Activity) *string) syncedColumn {
	return column(name, "text[]", field, func(s string) (pgtype.Text, error) { return pgtype.Text{String: s, Valid: true}, nil })
}

func number(name string, field func(*jobs.Activity) *float64) syncedColumn {
	return column(name, "float8[]", field, func(x float64) (pgtype.Float8, error) { return pgtype.Float8{Float64: x, Valid: true}, nil })
}

func integer(name string, field func(*jobs.Activity) *int32) syncedColumn {
	return column(name, "int4[]", field, func(n int32) (pgtype.Int4, error) { return pgtype.Int4{Int32: n, Valid: true}, nil })
}

func parseTimestamp(s string) (pgtype.Timestamp, error) {
	ts, err := jobs.ParseTimestamp(s)
	return pgtype.Timestamp{Time: ts.Truncate(time.Microsecond), Valid: true}, err
}

// column returns a column whose array is nil if all of its values are NULL, which is
// common, because most columns belong to rare sports. unnest returns the same rows for it.
func column[F, V any](name, array string, field func(*jobs.Activity) *F, convert func(F) (V, error)) syncedColumn {
	return syncedColumn{name: name, array: array, of: func(activities []*jobs.Activity) (any, error) {
		var values pgtype.FlatArray[V]
		for i, a := range activities {
			stated := field(a)
			if stated == nil {
				continue
			}
			if values == nil {
				values = make(pgtype.FlatArray[V], len(activities))
			}
			var err error
			if values[i], err = convert(*stated); err != nil {
				return nil, fmt.Errorf("activity %d: %s: %w", a.ActivityID, name, err)
			}
		}
		return values, nil
	}}
}

// columnTypesQuery reads the types of this database's columns, with their
// lengths and scales.
const columnTypesQuery = `
-- name: activities_columns
SELECT attname, format_type(atttypid, atttypmod)
FROM pg_attribute
WHERE attrelid = 'activities'::regclass AND attnum > 0 AND NOT attisdropped`

// writeStatements write activities with their results. Each has the same text for
// every batch size, so it is prepared once. Both have the same parameters. They
// unnest arrays in a select list: in FROM, PostgreSQL would first materialize
// each array, which takes longer than inserting a few rows.
type writeStatements struct {
	// insert inserts rows in the order of the arrays and returns the ids of those
	// it inserted. It skips ids that exist already.
	insert string

	// update writes the rows that differ from the given values and returns their ids with
	// false. It returns the ids of rows that are gone or belong to another user with
	// true. Because of its WHERE, rows that are up to date cost no lock and no WAL; with
	// ON CONFLICT DO UPDATE … WHERE they would. A NULL result keeps the row's, and so
	// does every NULL of a partial activity.
	update string
}

// activityStatements are the statements for batches of whole versions, which are
// cheaper, and for batches with partial ones.
type activityStatements struct {
	whole, partial writeStatements

	// compared reads the columns by which stored and given activities are compared.
	// Given values are cast to the columns' types, as they will be stored.
	compared string
}

// of returns the statements for a batch.
func (s activityStatements) of(u upserts) writeStatements {
	if u.partial {
		return s.partial
	}
	return s.whole
}

// activityStatementsFor builds the statements for the types of this database's
// columns: values are cast to them before they are compared, because
// numeric(5,2), for example, stores 12.3456 as 12.35.
func activityStatementsFor(ctx context.Context, pool *dbpool.Pool) (s activityStatements, err error) {
	types, err := columnTypes(ctx, pool)
	if err != nil {
		return s, fmt.Errorf("read the columns of activities: %w", err)
	}
	needed := slices.Clone(partialColumns)
	for _, c := range syncedColumns {
		needed = append(needed, c.name)
	}
	for _, name := range needed {
		if _, ok := types[name]; !ok {
			return s, fmt.Errorf("activities has no column %s; run: worker migrate up", name)
		}
	}
	return activityStatements{whole: statementsFor(types, false), partial: statementsFor(types, true), compared: comparedQuery(types)}, nil
}

// partialColumns describe rows with partial versions. In other rows they are NULL.
var partialColumns = []string{"ingest_day_from_utc", "ingest_alone"}

func statementsFor(types map[string]string, partial bool) writeStatements {
	var names, arrays, casts, assignments, stored, given []string
	parameter := 4 // ids, users, dates and versions come first
	unnest := func(array, name string) {
		parameter++
		arrays = append(arrays, fmt.Sprintf("unnest($%d::%s) AS %s", parameter, array, name))
	}
	assign := func(name, value string) {
		assignments = append(assignments, name+" = "+value)
		stored, given = append(stored, "old."+name), append(given, value)
	}
	next := func(name string) string {
		if partial {
			return fmt.Sprintf("CASE WHEN new.keeps THEN coalesce(new.%[1]s, old.%[1]s) ELSE new.%[1]s END", name)
		}
		return "new." + name
	}
	for _, c := range syncedColumns {
		unnest(c.array, c.name)
		names, casts = append(names, c.name), append(casts, fmt.Sprintf("raw.%s::%s AS %s", c.name, types[c.name], c.name))
		assign(c.name, next(c.name))
	}
	for _, name := range acwr.Columns {
		unnest("real[]", name)
		names, casts = append(names, name), append(casts, "raw."+name)
		assign(name, fmt.Sprintf("coalesce(new.%[1]s, old.%[1]s)", name))
	}
	keeps := ""
	for _, name := range partialColumns {
		if !partial {
			assign(name, "NULL::bool")
			continue
		}
		unnest("bool[]", name)
		names, casts = append(names, name), append(casts, "raw."+name)
		assign(name, next(name))
	}
	if partial {
		unnest("bool[]", "keeps")
		keeps = ", raw.keeps"
	}
	rows := `
	SELECT raw.activity_id, raw.user_id, raw.date, raw.ingest_job_id, ` + strings.Join(casts, ", ") + `%s
	FROM (SELECT unnest($1::bigint[]) AS activity_id, unnest($2::int[]) AS user_id, unnest($3::date[]) AS date, unnest($4::bigint[]) AS ingest_job_id,
		` + strings.Join(arrays, ", ") + `) AS raw`
	return writeStatements{
		insert: `
-- name: insert_activities
INSERT INTO activities (activity_id, user_id, date, ingest_job_id, ` + strings.Join(names, ", ") + `)` + fmt.Sprintf(rows, "") + `
ON CONFLICT (activity_id) DO NOTHING
RETURNING activity_id`,
		update: `
-- name: update_activities
WITH new AS MATERIALIZED (` + fmt.Sprintf(rows, keeps) + `
), changed AS (
	UPDATE activities AS old
	SET date = new.date, ingest_job_id = new.ingest_job_id, ` + strings.Join(assignments, ", ") + `
	FROM new
	WHERE old.activity_id = new.activity_id AND old.user_id = new.user_id
	  AND (old.date, ` + strings.Join(stored, ", ") + `) IS DISTINCT FROM (new.date, ` + strings.Join(given, ", ") + `)
	RETURNING old.activity_id
)
SELECT activity_id, false FROM changed
UNION ALL
SELECT activity_id, true FROM new
WHERE NOT EXISTS (SELECT FROM activities AS old WHERE old.activity_id = new.activity_id AND old.user_id = new.user_id)`,
	}
}

// args returns the parameters of writeStatements.
func (u upserts) args(results planResults) ([]any, error) {
	ids, userIDs, dates := make([]int64, len(u.activities)), make([]int32, len(u.activities)), make([]time.Time, len(u.activities))
	for i, a := range u.activities {
		ids[i], userIDs[i], dates[i] = a.ActivityID, a.UserID, toDate(daysSinceEpoch(a.Date))
	}
	args := []any{ids, userIDs, dates, u.versions}
	for _, column := range syncedColumns {
		values, err := column.of(u.activities)
		if err != nil {
			return nil, err
		}
		args = append(args, values)
	}
	args = append(args, results.columns(u.activities)...)
	if u.partial {
		args = append(args, u.days, u.alone, u.keeps)
	}
	return args, nil
}

func columnTypes(ctx context.Context, pool *dbpool.Pool) (map[string]string, error) {
	rows, _ := pool.Query(ctx, columnTypesQuery)
	types := map[string]string{}
	var name, typ string
	_, err := pgx.ForEachRow(rows, []any{&name, &typ}, func() error {
		types[name] = typ
		return nil
	})
	return types, err
}
