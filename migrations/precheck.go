package migrations

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// ErrIncompatible is returned when the database has a table of the application
// that the worker cannot use as it is. The error says how to convert it.
var ErrIncompatible = errors.New("an existing table cannot be used as it is")

// activitiesColumnsQuery lists the columns of an existing table whose types the
// worker relies on and which differ from what it needs.
const activitiesColumnsQuery = `
SELECT a.attname, format_type(a.atttypid, a.atttypmod), needed.type
FROM pg_attribute a
JOIN (VALUES ('activity_id', 'bigint'), ('user_id', 'integer'), ('date', 'date'),
             ('total_load_miles', 'real'), ('trimp', 'real'),
             ('seven_day_avg_load', 'real'), ('twentyeight_day_avg_load', 'real'),
             ('seven_day_avg_trimp', 'real'), ('twentyeight_day_avg_trimp', 'real'),
             ('acute_chronic_ratio', 'real'), ('trimp_acute_chronic_ratio', 'real'),
             ('normalized_divergence', 'real')) AS needed (name, type) ON needed.name = a.attname
WHERE a.attrelid = to_regclass('activities') AND NOT a.attisdropped
  AND format_type(a.atttypid, a.atttypmod) <> needed.type
ORDER BY a.attnum`

// activitiesKeyQuery tells whether an existing table has a unique index on
// activity_id alone; true when there is no table yet.
const activitiesKeyQuery = `
SELECT to_regclass('activities') IS NULL OR EXISTS (
	SELECT FROM pg_index i
	JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
	WHERE i.indrelid = to_regclass('activities') AND i.indisunique AND i.indpred IS NULL
	  AND i.indnkeyatts = 1 AND a.attname = 'activity_id')`

// checkExisting refuses a database that migrating would have to convert. It only
// reads, and it runs before anything is applied.
func checkExisting(ctx context.Context, conn *pgx.Conn) error {
	return errors.Join(checkActivities(ctx, conn), checkTokens(ctx, conn))
}

// checkActivities refuses a table that migrating would have to retype.
func checkActivities(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, activitiesColumnsQuery)
	if err != nil {
		return err
	}
	var faults []error
	var name, has, needs string
	_, err = pgx.ForEachRow(rows, []any{&name, &has, &needs}, func() error {
		faults = append(faults, fmt.Errorf(
			"column %q of activities is %s, needed is %s; convert it first: ALTER TABLE activities ALTER COLUMN %s TYPE %s USING %s::%s",
			name, has, needs, name, needs, name, needs))
		return nil
	})
	if err != nil {
		return err
	}
	var hasKey bool
	if err := conn.QueryRow(ctx, activitiesKeyQuery).Scan(&hasKey); err != nil {
		return err
	}
	if !hasKey {
		faults = append(faults, errors.New("activity_id alone is not unique; add it first: ALTER TABLE activities ADD PRIMARY KEY (activity_id)"))
	}
	if len(faults) > 0 {
		return fmt.Errorf("%w: %w", ErrIncompatible, errors.Join(faults...))
	}
	return nil
}
