package migrations

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrNoRole is returned for a role that the server does not have.
var ErrNoRole = errors.New("the role does not exist")

// roleQuery reports whether a role exists and, if so, whether it may create objects in a
// schema where unqualified names are resolved, as every role may by default on
// PostgreSQL 14.
const roleQuery = `
-- name: grant_role
SELECT count(*) > 0, coalesce(bool_or(has_schema_privilege(rolname, current_schema(), 'CREATE')), false), current_schema()
FROM pg_roles WHERE rolname = $1`

// seriesFunctions are acwr_series and what it calls with its caller's privileges.
const seriesFunctions = `'acwr_series', 'acwr_today', 'acwr_implausible', 'acwr_resembles', 'acwr_mean_expression', 'acwr_decay_factor',
	'acwr_decaying_sum', 'acwr_weighted_average', 'acwr_round', 'acwr_real', 'acwr_ratio', 'acwr_divergence'`

// grantQuery lets a role resolve names in River's schema, call the functions, and
// read what acwr_series reads and returns, because it reads as its caller. It grants
// nothing else on tables, and nothing on sequences. Every role may call acwr_series unless
// the owner's default privileges keep functions from PUBLIC.
//
// Columns that the application does not have, or on which only the table's owner may
// grant privileges, are skipped: acwr_series treats a user_settings that it cannot
// read as missing.
const grantQuery = `
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT EXECUTE ON FUNCTION {schema}.enqueue_activity_ingest(jsonb, integer), {schema}.enqueue_activity_ingest(text, integer),
	{schema}.enqueue_acwr_recalc(integer, date, date, integer), {schema}.job_status(bigint[]) TO {role};
DO $$
DECLARE
	columns record;
	called regprocedure;
BEGIN
	IF NOT has_schema_privilege({role_literal}, current_schema(), 'USAGE') THEN
		EXECUTE format('GRANT USAGE ON SCHEMA %I TO {role}', current_schema());
	END IF;
	FOR columns IN
		SELECT a.attrelid::regclass AS of, string_agg(quote_ident(a.attname), ', ') AS names
		FROM (VALUES
			('activities', ARRAY['activity_id', 'user_id', 'date', 'type', 'sport_type', 'start_time', 'distance_miles', 'elevation_gain_feet', 'duration_minutes',
			                     'avg_heart_rate', 'total_load_miles', 'trimp',
			                     'seven_day_avg_load', 'twentyeight_day_avg_load', 'seven_day_avg_trimp', 'twentyeight_day_avg_trimp',
			                     'acute_chronic_ratio', 'trimp_acute_chronic_ratio', 'normalized_divergence']),
			('acwr_settings', NULL), ('user_settings', ARRAY['id', 'timezone'])
		) AS read (name, columns)
		JOIN pg_attribute AS a ON a.attrelid = to_regclass(read.name) AND a.attnum > 0 AND NOT a.attisdropped AND (read.columns IS NULL OR a.attname = ANY (read.columns))
		WHERE has_column_privilege(a.attrelid, a.attnum, 'SELECT WITH GRANT OPTION')
		GROUP BY a.attrelid
	LOOP
		EXECUTE format('GRANT SELECT (%s) ON %s TO {role}', columns.names, columns.of);
	END LOOP;
	FOR called IN
		SELECT p.oid FROM pg_proc AS p
		WHERE p.proname IN (` + seriesFunctions + `) AND pg_function_is_visible(p.oid) AND has_function_privilege(p.oid, 'EXECUTE WITH GRANT OPTION')
	LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO {role}', called);
	END LOOP;
END $$;`

// grantPurgeQuery is separate: a role that may enqueue may not delete.
const grantPurgeQuery = `
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT EXECUTE ON FUNCTION {schema}.purge_athlete(integer, interval) TO {role};`

// GrantPurge lets an existing role remove athletes' data with the SQL function,
// and nothing else. It is idempotent. The warning is that of GrantEnqueue.
func GrantPurge(ctx context.Context, pool *pgxpool.Pool, riverSchema, role string) (warning string, err error) {
	return grantFunctions(ctx, pool, riverSchema, role, "purging", grantPurgeQuery)
}

// GrantEnqueue lets an existing role enqueue jobs with the SQL functions, query their
// status, read the results with acwr_series, and nothing else. It is idempotent. The
// warning, if any, names other privileges of the role that undermine this.
func GrantEnqueue(ctx context.Context, pool *pgxpool.Pool, riverSchema, role string) (warning string, err error) {
	return grantFunctions(ctx, pool, riverSchema, role, "enqueuing", grantQuery)
}

func grantFunctions(ctx context.Context, pool *pgxpool.Pool, riverSchema, role, what, query string) (warning string, err error) {
	return grant(ctx, pool, role, what, func(tx pgx.Tx, to string) error {
		_, err := tx.Exec(ctx, inSchema(query, riverSchema, "{role}", to, "{role_literal}", "'"+strings.ReplaceAll(role, "'", "''")+"'"))
		return err
	})
}

// grant calls give for a role that exists.
func grant(ctx context.Context, pool *pgxpool.Pool, role, what string, give func(tx pgx.Tx, to string) error) (warning string, err error) {
	to := pgx.Identifier{role}.Sanitize()
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		var exists, mayCreate bool
		var schema *string
		if err := tx.QueryRow(ctx, roleQuery, role).Scan(&exists, &mayCreate, &schema); err != nil {
			return err
		}
		if !exists { // includes "public", which GRANT, quoted or not, takes for all roles
			return fmt.Errorf("%w; create it first: CREATE ROLE %s LOGIN", ErrNoRole, to)
		}
		if mayCreate {
			warning = fmt.Sprintf("role %q may create objects in schema %q, where other roles' statements would find them; "+
				"unless that is meant: REVOKE CREATE ON SCHEMA %s FROM PUBLIC", role, *schema, pgx.Identifier{*schema}.Sanitize())
		}
		return give(tx, to)
	})
	if err != nil {
		return "", fmt.Errorf("grant %s to role %q: %w", what, role, err)
	}
	return warning, nil
}
