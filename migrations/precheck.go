package migrations

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
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

// activitiesKindQuery reports whether an existing table is one on which indexes can be
// built concurrently and, if the search_path has no such table, where another one is, and
// whether the current role may use that schema.
const activitiesKindQuery = `
-- name: precheck_kind
SELECT coalesce((SELECT relkind = 'r' FROM pg_class WHERE oid = to_regclass('activities')), true), elsewhere.schema,
       elsewhere.schema IS NULL OR has_schema_privilege(elsewhere.schema, 'USAGE'), quote_ident(current_user)
FROM (SELECT min(n.nspname) AS schema
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE to_regclass('activities') IS NULL AND c.relname = 'activities' AND c.relkind IN ('r', 'p')
          AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'activity_id')
          AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'user_id')) AS elsewhere`

// generatedColumnsQuery lists those of the given columns of a table whose values PostgreSQL
// computes, and how: when rows are written, when they are read, or from a sequence that takes
// no other value.
const generatedColumnsQuery = `
-- name: precheck_generated
SELECT attname, format_type(atttypid, atttypmod), CASE WHEN attidentity = 'a' THEN 'identity' WHEN attgenerated = 'v' THEN 'virtual' ELSE 'stored' END
FROM pg_attribute
WHERE attrelid = to_regclass($1) AND attname = ANY($2) AND (attgenerated <> '' OR attidentity = 'a') AND NOT attisdropped
ORDER BY attnum`

// Fault is what makes a table of the application unusable for the worker.
type Fault struct {
	About string
	Cure  string // statements, if any are enough
}

func (f Fault) Error() string { return f.About + "; do this first: " + f.Cure }

// FindFaults returns what the worker cannot use of the application's tables as they
// are. It only reads, and needs no migrated database.
func FindFaults(ctx context.Context, db dbpool.Querier) ([]Fault, error) {
	activities, err := activitiesFaults(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("examine table activities: %w", err)
	}
	tokens, err := tokensFaults(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("examine table user_tokens: %w", err)
	}
	log, err := tokenLogFaults(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("examine table token_audit_log: %w", err)
	}
	return slices.Concat(activities, tokens, log), nil
}

// checkExisting returns an error for a database that migrating would have to
// convert. It runs before anything is applied.
func checkExisting(ctx context.Context, db dbpool.Querier) error {
	faults, err := FindFaults(ctx, db)
	if err != nil || len(faults) == 0 {
		return err
	}
	errs := make([]error, len(faults))
	for i, f := range faults {
		errs[i] = f
	}
	return fmt.Errorf("%w: %w", ErrIncompatible, errors.Join(errs...))
}

// columnFaults returns the columns that a query finds to be of other types.
func columnFaults(ctx context.Context, db dbpool.Querier, table, columnsQuery string) (faults []Fault, err error) {
	rows, _ := db.Query(ctx, columnsQuery)
	var name, has, needs string
	_, err = pgx.ForEachRow(rows, []any{&name, &has, &needs}, func() error {
		faults = append(faults, Fault{
			fmt.Sprintf("column %q of %s is %s, needed is %s", name, table, has, needs),
			fmt.Sprintf("ALTER TABLE %[1]s ALTER COLUMN %[2]s TYPE %[3]s USING %[2]s::%[3]s", table, name, needs),
		})
		return nil
	})
	return faults, err
}

// writtenColumns returns the columns in a migration's list for a table. The worker writes
// them, besides keys and dates, which tables have anyway.
func writtenColumns(file, table string) (names []string, err error) {
	text, err := files.ReadFile("templates/" + file)
	for _, column := range wantedColumn.FindAllStringSubmatch(string(text), -1) {
		if column[1] == "" || column[1] == table {
			names = append(names, column[2])
		}
	}
	return names, err
}

func activitiesFaults(ctx context.Context, db dbpool.Querier) ([]Fault, error) {
	written, err := writtenColumns("00001_activities.sql", "activities")
	if err != nil {
		return nil, err
	}
	written = append(written, "activity_id", "user_id", "date")
	faults, err := columnFaults(ctx, db, "activities", activitiesColumnsQuery)
	if err != nil {
		return nil, err
	}
	var plain, usable bool
	var elsewhere *string
	var role string
	if err := db.QueryRow(ctx, activitiesKindQuery).Scan(&plain, &elsewhere, &usable, &role); err != nil {
		return nil, err
	}
	switch {
	case !usable:
		faults = append(faults, Fault{
			fmt.Sprintf("the table activities is in schema %q, on which role %s lacks USAGE, and a second one would be made", *elsewhere, role),
			fmt.Sprintf("as its owner: GRANT USAGE ON SCHEMA %s TO %s", quoted(*elsewhere), role),
		})
	case elsewhere != nil:
		faults = append(faults, Fault{
			fmt.Sprintf("the table activities is in schema %q, which is not in the search_path, and a second one would be made", *elsewhere),
			fmt.Sprintf("ALTER ROLE … SET search_path = %s, public", quoted(*elsewhere)),
		})
	case !plain:
		faults = append(faults, Fault{
			"activities is partitioned, a foreign table or a view, and the worker needs a table of its own kind",
			"copy it: CREATE TABLE plain (LIKE activities INCLUDING ALL); INSERT INTO plain SELECT * FROM activities",
		})
	default:
		keys, err := keyFaults(ctx, db, "activities", "activity_id", written)
		if err != nil {
			return nil, err
		}
		faults = append(faults, keys...)
	}
	generated, err := generatedFaults(ctx, db, "activities", written)
	return append(faults, generated...), err
}

// generatedFaults returns the generated columns among those that the worker writes.
func generatedFaults(ctx context.Context, db dbpool.Querier, table string, written []string) (faults []Fault, err error) {
	rows, _ := db.Query(ctx, generatedColumnsQuery, table, written)
	var name, typ, kind string
	_, err = pgx.ForEachRow(rows, []any{&name, &typ, &kind}, func() error {
		faults = append(faults, Fault{fmt.Sprintf("column %q of %s is generated, and the worker writes it", name, table), makePlain(table, name, typ, kind)})
		return nil
	})
	return faults, err
}

// makePlain returns statements after which a generated column can be written. Its
// values stay.
func makePlain(table, name, typ, kind string) string {
	switch kind {
	case "identity":
		return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET GENERATED BY DEFAULT", table, name)
	case "virtual": // DROP EXPRESSION is for stored values
		return fmt.Sprintf("ALTER TABLE %[1]s RENAME COLUMN %[2]s TO %[2]s_generated; ALTER TABLE %[1]s ADD COLUMN %[2]s %[3]s; UPDATE %[1]s SET %[2]s = %[2]s_generated", table, name, typ)
	}
	return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP EXPRESSION", table, name)
}
