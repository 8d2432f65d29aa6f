package migrations

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrNoRole is returned for a role that the server does not have.
var ErrNoRole = errors.New("the role does not exist")

// roleQuery tells whether a role exists and, when it does, whether it may create
// objects where everybody's unqualified names are looked up, as every role may
// on a PostgreSQL 14 that nobody hardened.
const roleQuery = `
SELECT count(*) > 0, coalesce(bool_or(has_schema_privilege(rolname, current_schema(), 'CREATE')), false), current_schema()
FROM pg_roles WHERE rolname = $1`

// grantQuery lets a role look names up in River's schema and call the
// functions. It gives access to no table and no sequence.
const grantQuery = `
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT EXECUTE ON FUNCTION {schema}.enqueue_activity_ingest(jsonb, integer), {schema}.enqueue_activity_ingest(text, integer),
	{schema}.enqueue_acwr_recalc(integer, date, date, integer) TO {role};`

// grantPurgeQuery is apart: who may enqueue may not delete.
const grantPurgeQuery = `
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT EXECUTE ON FUNCTION {schema}.purge_athlete(integer, interval) TO {role};`

// GrantPurge lets an existing role remove athletes' data with the SQL function and
// nothing else. A second time changes nothing. The warning is as GrantEnqueue's.
func GrantPurge(ctx context.Context, pool *pgxpool.Pool, riverSchema, role string) (warning string, err error) {
	warning, err = grant(ctx, pool, riverSchema, role, grantPurgeQuery)
	if err != nil {
		return "", fmt.Errorf("grant purging to role %q: %w", role, err)
	}
	return warning, nil
}

// GrantEnqueue lets an existing role enqueue jobs with the SQL functions and
// nothing else. A second time changes nothing. The warning, if any, says what
// else the role may do that weakens this.
func GrantEnqueue(ctx context.Context, pool *pgxpool.Pool, riverSchema, role string) (warning string, err error) {
	warning, err = grant(ctx, pool, riverSchema, role, grantQuery)
	if err != nil {
		return "", fmt.Errorf("grant enqueuing to role %q: %w", role, err)
	}
	return warning, nil
}

func grant(ctx context.Context, pool *pgxpool.Pool, riverSchema, role, query string) (warning string, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		var exists, mayCreate bool
		var schema *string
		if err := tx.QueryRow(ctx, roleQuery, role).Scan(&exists, &mayCreate, &schema); err != nil {
			return err
		}
		if !exists { // also "public", which GRANT would take for everyone, quoted or not
			return fmt.Errorf("%w; create it first: CREATE ROLE %s LOGIN", ErrNoRole, pgx.Identifier{role}.Sanitize())
		}
		if mayCreate {
			warning = fmt.Sprintf("role %q may create objects in schema %q, where other roles' statements would find them; "+
				"unless that is meant: REVOKE CREATE ON SCHEMA %s FROM PUBLIC", role, *schema, pgx.Identifier{*schema}.Sanitize())
		}
		_, err := tx.Exec(ctx, inSchema(query, riverSchema, "{role}", pgx.Identifier{role}.Sanitize()))
		return err
	})
	return warning, err
}
