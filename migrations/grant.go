package migrations

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/trainingmonkey/worker/dbpool"
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

// enqueuePrivilegesQuery lists what lets role $2 resolve names in River's schema, call the
// functions, and read what acwr_series reads and returns, because it reads as its caller. It is
// nothing else on tables, and nothing on sequences. Every role may call acwr_series unless the
// owner's default privileges keep functions from PUBLIC. Rows are those of neededQuery.
//
// Columns that the application does not have are left out, and those of user_settings on which
// only its owner may grant privileges: acwr_series treats a user_settings that it cannot read
// as missing.
const enqueuePrivilegesQuery = `
-- name: privileges_enqueuing
SELECT 'USAGE', format('SCHEMA %I', nspname), has_schema_privilege($2::name, oid, 'USAGE'), '{}'::text[], '{}'::text[], false
FROM pg_namespace WHERE nspname IN ($1, current_schema())
UNION ALL
SELECT 'EXECUTE', format('FUNCTION %s', p.oid::regprocedure), has_function_privilege($2, p.oid, 'EXECUTE'), '{}', '{}', false
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = $1 AND p.proname IN ('enqueue_activity_ingest', 'enqueue_acwr_recalc', 'job_status')
   OR p.proname IN (` + seriesFunctions + `) AND pg_function_is_visible(p.oid)
UNION ALL
SELECT format('SELECT (%s)', string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)), format('TABLE %s', a.attrelid::regclass),
       bool_and(has_column_privilege($2, a.attrelid, a.attnum, 'SELECT')), '{}', '{}', false
FROM (VALUES
	('activities', ARRAY['activity_id', 'user_id', 'date', 'type', 'sport_type', 'start_time', 'distance_miles', 'elevation_gain_feet', 'duration_minutes',
	                     'avg_heart_rate', 'total_load_miles', 'trimp',
	                     'seven_day_avg_load', 'twentyeight_day_avg_load', 'seven_day_avg_trimp', 'twentyeight_day_avg_trimp',
	                     'acute_chronic_ratio', 'trimp_acute_chronic_ratio', 'normalized_divergence']),
	('acwr_settings', NULL), ('user_settings', ARRAY['id', 'timezone'])
) AS read (name, columns)
JOIN pg_attribute AS a ON a.attrelid = to_regclass(read.name) AND a.attnum > 0 AND NOT a.attisdropped AND (read.columns IS NULL OR a.attname = ANY (read.columns))
WHERE read.name <> 'user_settings' OR has_column_privilege(a.attrelid, a.attnum, 'SELECT WITH GRANT OPTION')
GROUP BY a.attrelid
ORDER BY 2`

// purgePrivilegesQuery is separate: a role that may enqueue may not delete.
const purgePrivilegesQuery = `
-- name: privileges_purging
SELECT 'USAGE', format('SCHEMA %I', nspname), has_schema_privilege($2::name, oid, 'USAGE'), '{}'::text[], '{}'::text[], false
FROM pg_namespace WHERE nspname = $1
UNION ALL
SELECT 'EXECUTE', format('FUNCTION %s', p.oid::regprocedure), has_function_privilege($2, p.oid, 'EXECUTE'), '{}', '{}', false
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = $1 AND p.proname = 'purge_athlete'
ORDER BY 2`

// GrantPurge lets an existing role remove athletes' data with the SQL function,
// and nothing else. It is idempotent. The warning is that of GrantEnqueue.
func GrantPurge(ctx context.Context, pool *pgxpool.Pool, riverSchema, role string) (warning string, err error) {
	return grantListed(ctx, pool, role, "purging", purgePrivilegesQuery, riverSchema, role)
}

// GrantEnqueue lets an existing role enqueue jobs with the SQL functions, query their
// status, read the results with acwr_series, and nothing else. It is idempotent. The
// warning, if any, names other privileges of the role that undermine this.
func GrantEnqueue(ctx context.Context, pool *pgxpool.Pool, riverSchema, role string) (warning string, err error) {
	return grantListed(ctx, pool, role, "enqueuing", enqueuePrivilegesQuery, riverSchema, role)
}

// GrantWork lets an existing role run workers and the command line, but change no table's
// definition. Run again, it grants what was added since. It never returns a warning,
// because a worker may do more than call functions.
func GrantWork(ctx context.Context, pool *pgxpool.Pool, riverSchema, role string) (warning string, err error) {
	_, err = grantListed(ctx, pool, role, "working", neededQuery, riverSchema, versionTable, role)
	return "", err
}

// grantListed grants the privileges that a query lists.
//
// The current role may be unable to grant something, which PostgreSQL does not always
// refuse: without the grant option, GRANT may do nothing. So the outcome is checked. What
// the role has anyway, by another grant, is no error.
func grantListed(ctx context.Context, pool *pgxpool.Pool, role, what, query string, args ...any) (warning string, err error) {
	return grant(ctx, pool, role, what, func(tx pgx.Tx, to string) error {
		list := func() ([]Privilege, error) {
			return dbpool.Collect(ctx, tx, "read privileges", pgx.RowToStructByPos[Privilege], query, args...)
		}
		listed, err := list()
		if err != nil {
			return err
		}
		for _, p := range listed {
			err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error {
				_, err := tx.Exec(ctx, p.grantTo(to))
				return err
			})
			if err != nil && dbpool.SQLState(err) != dbpool.InsufficientPrivilege {
				return err
			}
		}
		if listed, err = list(); err != nil {
			return err
		}
		var left []string
		for _, p := range listed {
			if !p.Has {
				left = append(left, p.grantTo(to))
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("only the owner of these may grant them, and nothing was granted; as the owner or a superuser: %s; then repeat this", strings.Join(left, "; "))
		}
		return nil
	})
}

func (p Privilege) grantTo(role string) string {
	return "GRANT " + p.Needs + " ON " + p.On + " TO " + role
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
