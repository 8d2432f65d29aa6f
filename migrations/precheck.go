package migrations

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// ErrIncompatible is returned when the database has a table of the application
// that the worker cannot use as it is. The error says how to convert it.
var ErrIncompatible = errors.New("an existing table cannot be used as it is")

// activitiesColumnsQuery lists the columns of an existing table whose types the
// worker cannot use.
const activitiesColumnsQuery = `
-- name: precheck_columns
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

// keyQuery reports whether an existing table has a unique index on a column alone;
// true when there is no table yet.
const keyQuery = `
-- name: precheck_key
SELECT to_regclass($1) IS NULL OR EXISTS (
	SELECT FROM pg_index i
	JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
	WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indpred IS NULL
	  AND i.indnkeyatts = 1 AND a.attname = $2)`

// activitiesKindQuery reports whether an existing table is one on which indexes can be
// built concurrently and, if the search_path has no such table, where another one is.
const activitiesKindQuery = `
-- name: precheck_kind
SELECT coalesce((SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass('activities')), true),
       (SELECT min(n.nspname)
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE to_regclass('activities') IS NULL AND c.relname = 'activities' AND c.relkind IN ('r', 'p')
          AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'activity_id')
          AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'user_id'))`

// generatedColumnsQuery lists columns whose values PostgreSQL computes.
const generatedColumnsQuery = `
-- name: precheck_generated
SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('activities') AND attgenerated <> '' AND NOT attisdropped ORDER BY attnum`

// checkExisting returns an error for a database that migrating would have to
// convert. It only reads, and runs before anything is applied.
func checkExisting(ctx context.Context, conn *pgx.Conn) error {
	return errors.Join(checkActivities(ctx, conn), checkTokens(ctx, conn))
}

// checkColumns returns the faults of a table's columns, by a query for them, and
// whether its key is unique.
func checkColumns(ctx context.Context, conn *pgx.Conn, table, key, columnsQuery string) (faults []error, hasKey bool, err error) {
	rows, _ := conn.Query(ctx, columnsQuery)
	var name, has, needs string
	if _, err := pgx.ForEachRow(rows, []any{&name, &has, &needs}, func() error {
		faults = append(faults, fmt.Errorf(
			"column %[1]q of %[2]s is %[3]s, needed is %[4]s; convert it first: ALTER TABLE %[2]s ALTER COLUMN %[1]s TYPE %[4]s USING %[1]s::%[4]s", name, table, has, needs))
		return nil
	}); err != nil {
		return nil, false, err
	}
	err = conn.QueryRow(ctx, keyQuery, table, key).Scan(&hasKey)
	return faults, hasKey, err
}

// incompatible joins the faults in an ErrIncompatible; nil without faults.
func incompatible(faults []error) error {
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrIncompatible, errors.Join(faults...))
}

// checkActivities returns an error for a table that migrating would have to retype.
func checkActivities(ctx context.Context, conn *pgx.Conn) error {
	faults, hasKey, err := checkColumns(ctx, conn, "activities", "activity_id", activitiesColumnsQuery)
	if err != nil {
		return err
	}
	var plain bool
	var elsewhere *string
	if err := conn.QueryRow(ctx, activitiesKindQuery).Scan(&plain, &elsewhere); err != nil {
		return err
	}
	switch {
	case elsewhere != nil:
		faults = append(faults, fmt.Errorf("the table activities is in schema %q, which is not in the search_path, and a second one would be made; "+
			"have it found first: ALTER ROLE … SET search_path = %s, public", *elsewhere, pgx.Identifier{*elsewhere}.Sanitize()))
	case !plain:
		faults = append(faults, errors.New("activities is partitioned, a foreign table or a view; the worker needs a table of its own kind: "+
			"copy it first: CREATE TABLE plain (LIKE activities INCLUDING ALL); INSERT INTO plain SELECT * FROM activities"))
	case !hasKey:
		faults = append(faults, errors.New("activity_id alone is not unique; add it first: ALTER TABLE activities ADD PRIMARY KEY (activity_id)"))
	}
	generated, err := generatedColumns(ctx, conn)
	if err != nil {
		return err
	}
	for _, column := range generated {
		faults = append(faults, fmt.Errorf("column %q of activities is generated, and the worker writes it; make it a plain one first: "+
			"ALTER TABLE activities ALTER COLUMN %[1]s DROP EXPRESSION", column))
	}
	return incompatible(faults)
}

// generatedColumns returns the generated columns among those that the worker writes.
func generatedColumns(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, _ := conn.Query(ctx, generatedColumnsQuery)
	generated, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(generated) == 0 {
		return nil, err
	}
	ours, err := files.ReadFile("templates/00001_activities.sql")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(generated, func(column string) bool { return !bytes.Contains(ours, []byte("'"+column+"'")) }), nil
}
