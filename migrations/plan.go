package migrations

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// Step is one migration that Up would apply.
type Step struct {
	Name string // as in Result
	Does string // what it would change in this database
}

// Plan returns what Up would do, in order, and an error if Up would refuse. It only
// reads, and takes no lock that blocks others.
func Plan(ctx context.Context, pool *pgxpool.Pool, riverSchema string) ([]Step, error) {
	steps, err := plan(ctx, pool, riverSchema)
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	return steps, nil
}

func plan(ctx context.Context, pool *pgxpool.Pool, riverSchema string) ([]Step, error) {
	err := pgx.BeginTxFunc(ctx, pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return checkExisting(ctx, tx)
	})
	if err != nil {
		return nil, err
	}
	status, err := GetStatus(ctx, pool, riverSchema)
	if err := cmp.Or(err, status.newer()); err != nil {
		return nil, err
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: riverSchema})
	if err != nil {
		return nil, err
	}
	var steps []Step
	for _, m := range migrator.AllVersions() {
		if int64(m.Version) > status.River.Current {
			steps = append(steps, Step{fmt.Sprintf("river %d", m.Version), fmt.Sprintf("%s, in schema %s", m.Name, riverSchema)})
		}
	}
	db := stdlib.OpenDBFromPool(pool)
	defer func() { _ = db.Close() }()
	err = withProvider(pool, riverSchema, func(provider *goose.Provider) error {
		for _, source := range provider.ListSources() {
			if source.Version <= status.Worker.Current {
				continue
			}
			does, err := describe(ctx, db, source)
			if err != nil {
				return err
			}
			steps = append(steps, Step{strings.TrimSuffix(fileName(source), ".sql"), does})
		}
		return nil
	})
	var captured bool
	if err == nil && len(steps) > 0 {
		if err = pool.QueryRow(ctx, capturedQuery).Scan(&captured); captured {
			steps = append(steps, CaptureStep)
		}
	}
	return steps, err
}

// Migrations that add to the application's tables, if these exist.
const (
	activitiesVersion = 1
	tokensVersion     = 9
)

func describe(ctx context.Context, db *sql.DB, source *goose.Source) (string, error) {
	switch source.Version {
	case activitiesVersion:
		return describeColumns(ctx, db, source, "activities")
	case tokensVersion:
		tokens, err := describeColumns(ctx, db, source, "user_tokens")
		if err != nil {
			return "", err
		}
		log, err := describeColumns(ctx, db, source, "token_audit_log")
		return tokens + "; " + log + "; create table token_provider and functions", err
	case indexVersion:
		return describeIndex(ctx, db)
	case tokenIndexesVersion:
		return "build an index on user_tokens and one on token_audit_log, CONCURRENTLY", nil
	case versionIndexVersion:
		return "build a small index (BRIN) on activities (ingest_job_id), CONCURRENTLY", nil
	}
	text, err := files.ReadFile("templates/" + fileName(source))
	var objects []string
	for _, created := range createdObject.FindAllStringSubmatch(string(text), -1) {
		objects = append(objects, strings.ToLower(created[1])+" "+created[2])
	}
	does := "create " + strings.Join(objects, ", ")
	for _, added := range addedColumn.FindAllStringSubmatch(string(text), -1) {
		does += "; add to " + added[1] + ", without rewriting it: " + added[2] + " " + added[3]
	}
	return does, err
}

// addedColumn finds the columns that a migration adds.
var addedColumn = regexp.MustCompile(`(?m)^ALTER TABLE (\w+) ADD COLUMN (?:IF NOT EXISTS )?(\w+) (\w+)\b`)

// createdObject finds the objects that a migration creates, without their schema.
var createdObject = regexp.MustCompile(`(?m)^CREATE (?:OR REPLACE )?(?:UNIQUE )?(TABLE|INDEX|FUNCTION|VIEW|TRIGGER) (?:\{\w+\}\.)?(\w+)`)

// wantedColumn finds a column in a migration's list: the table's name, if the list covers
// several tables, the column's name and its type.
var wantedColumn = regexp.MustCompile(`\(\d+, (?:'(\w+)', )?'(\w+)', '([^']+)'\)`)

// missingColumnsQuery finds which of the wanted columns an existing table lacks.
const missingColumnsQuery = `
-- name: plan_missing_columns
SELECT to_regclass($1) IS NOT NULL,
	coalesce(string_agg(wanted.name || ' ' || wanted.type, ', ' ORDER BY n), '')
FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS wanted (name, type, n)
WHERE NOT EXISTS (
	SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = wanted.name AND NOT attisdropped)`

func describeColumns(ctx context.Context, db *sql.DB, source *goose.Source, table string) (string, error) {
	text, err := files.ReadFile("templates/" + fileName(source))
	if err != nil {
		return "", err
	}
	var names, types []string
	for _, column := range wantedColumn.FindAllStringSubmatch(string(text), -1) {
		if column[1] == "" || column[1] == table {
			names, types = append(names, column[2]), append(types, column[3])
		}
	}
	var exists bool
	var missing string
	if err := db.QueryRowContext(ctx, missingColumnsQuery, table, names, types).Scan(&exists, &missing); err != nil {
		return "", err
	}
	switch {
	case !exists:
		return "create table " + table, nil
	case missing == "":
		return "nothing: " + table + " has every column", nil
	default:
		return "add to " + table + ", without rewriting it: " + missing, nil
	}
}

func describeIndex(ctx context.Context, db *sql.DB) (string, error) {
	var found sql.NullString
	if err := db.QueryRowContext(ctx, foundIndexQuery).Scan(&found); err != nil {
		return "", err
	}
	if found.Valid {
		return "nothing: found index " + found.String + " on activities (user_id, date)", nil
	}
	return "build index " + userDateIndex + " on activities (user_id, date), CONCURRENTLY", nil
}
