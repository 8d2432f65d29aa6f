package migrations

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// keyQuery describes a column of an existing table, and what ON CONFLICT makes of it: it
// takes a valid and immediate unique index on that column alone, and fails if a deferrable
// constraint is on it as well.
const keyQuery = `
-- name: precheck_key
SELECT c.attnum IS NOT NULL,
       EXISTS (SELECT FROM pg_index
               WHERE indrelid = t.oid AND indisunique AND indisvalid AND indimmediate AND indpred IS NULL AND indnkeyatts = 1 AND indkey[0] = c.attnum),
       coalesce(d.conname, ''), coalesce(d.contype = 'p', false), p.oid IS NOT NULL,
       ARRAY(SELECT attname FROM pg_attribute
             WHERE attrelid = t.oid AND attnum = ANY (p.conkey) AND NOT atthasdef AND attidentity = '' AND attname <> ALL ($3) ORDER BY attnum)
FROM pg_class AS t
LEFT JOIN pg_attribute AS c ON c.attrelid = t.oid AND c.attname = $2 AND NOT c.attisdropped
LEFT JOIN pg_constraint AS p ON p.conrelid = t.oid AND p.contype = 'p'
LEFT JOIN LATERAL (SELECT conname, contype FROM pg_constraint
                   WHERE conrelid = t.oid AND contype IN ('p', 'u') AND condeferrable AND conkey = ARRAY[c.attnum] ORDER BY conname LIMIT 1) AS d ON true
WHERE t.oid = to_regclass($1)`

// tableKey is how a table's rows can be found by a column.
type tableKey struct {
	table, column string
	exists        bool
	unique        bool     // for ON CONFLICT
	deferrable    string   // the constraint that makes ON CONFLICT fail
	isPrimary     bool     // that constraint is the primary key
	hasPrimary    bool     // the table has a primary key, whatever its columns
	withoutValue  []string // the primary key's columns that the worker leaves to a default, and that have none
}

// keyFaults returns why rows of a table, if it exists, cannot be found by a column.
// written are the columns that the worker writes.
func keyFaults(ctx context.Context, db dbpool.Querier, table, column string, written []string) ([]Fault, error) {
	k := tableKey{table: table, column: column}
	err := db.QueryRow(ctx, keyQuery, table, column, written).Scan(&k.exists, &k.unique, &k.deferrable, &k.isPrimary, &k.hasPrimary, &k.withoutValue)
	switch {
	case errors.Is(err, pgx.ErrNoRows) || err == nil && k.unique && k.deferrable == "":
		return nil, nil
	case err != nil:
		return nil, err
	case !k.exists:
		return []Fault{{table + " has no column " + column, fmt.Sprintf("name it so, or add it and fill it: ALTER TABLE %s ADD COLUMN %s …", table, column)}}, nil
	}
	found, correct, err := k.rowsInTheWay(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("%s; count the rows in the way of a unique index: %w", k.about(), withCure(err))
	}
	return []Fault{{k.about() + found, correct + k.cure()}}, nil
}

func (k tableKey) about() string {
	if k.deferrable != "" {
		return fmt.Sprintf("the constraint %s on %s of %s is deferrable, which ON CONFLICT refuses", quoted(k.deferrable), k.column, k.table)
	}
	return k.column + " alone is not unique in " + k.table
}

// cure returns statements that are possible once the rows are.
func (k tableKey) cure() string {
	switch {
	case k.isPrimary:
		return fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s, ADD PRIMARY KEY (%s)", k.table, quoted(k.deferrable), k.column)
	case k.deferrable != "":
		return fmt.Sprintf("ALTER TABLE %s DROP CONSTRAINT %s, ADD UNIQUE (%s)", k.table, quoted(k.deferrable), k.column)
	case !k.hasPrimary:
		return fmt.Sprintf("ALTER TABLE %s ADD PRIMARY KEY (%s)", k.table, k.column)
	}
	cure := fmt.Sprintf("CREATE UNIQUE INDEX CONCURRENTLY ON %s (%s)", k.table, k.column)
	for _, column := range k.withoutValue {
		cure += fmt.Sprintf("; ALTER TABLE %s ALTER COLUMN %s SET DEFAULT …, because the worker does not write it", k.table, quoted(column))
	}
	return cure
}

// keyRowsQuery counts the values that several rows have, with one of them, and the rows
// without a value. It scans the table, so it only runs for tables without a usable key.
const keyRowsQuery = `
-- name: precheck_key_rows
WITH repeated AS (SELECT %[2]s::text AS value FROM %[1]s WHERE %[2]s IS NOT NULL GROUP BY %[2]s HAVING count(*) > 1)
SELECT count(*), coalesce(min(value), ''), (SELECT count(*) FROM %[1]s WHERE %[2]s IS NULL) FROM repeated`

// rowsInTheWay returns which rows a unique index or primary key cannot have, and how to
// correct them; nothing if there are none.
func (k tableKey) rowsInTheWay(ctx context.Context, db dbpool.Querier) (found, correct string, err error) {
	var repeated, nulls int64
	var example string
	if err := db.QueryRow(ctx, fmt.Sprintf(keyRowsQuery, k.table, k.column)).Scan(&repeated, &example, &nulls); err != nil || repeated+nulls == 0 {
		return "", "", err
	}
	var counted []string
	if repeated > 0 {
		counted = append(counted, fmt.Sprintf("values in several rows: %d, for example %s", repeated, example))
		correct = fmt.Sprintf("leave one row of each (SELECT * FROM %s WHERE %s = '%s'); ", k.table, k.column, strings.ReplaceAll(example, "'", "''"))
	}
	if nulls > 0 {
		counted = append(counted, fmt.Sprintf("rows where it is NULL: %d", nulls))
		correct += fmt.Sprintf("give the rows without %[2]s one or delete them (SELECT * FROM %[1]s WHERE %[2]s IS NULL); ", k.table, k.column)
	}
	return " (" + strings.Join(counted, "; ") + ")", correct + "then ", nil
}

func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }
