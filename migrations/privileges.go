package migrations

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/trainingmonkey/worker/dbpool"
)

// neededQuery lists the privileges that a worker's role needs on existing objects, in the
// words of GRANT: every table of River's schema and of ours, the application's tables
// that are read, their sequences, the functions that are called, and the two schemas.
// Rows: privileges, object, whether the current role has them, whether policies hide rows
// of the object from it, and whether commands alone need it.
//
// Permissive policies show rows and restrictive ones hide them: nothing is hidden if
// one permissive policy is true for all rows and no restrictive one applies to reading.
const neededQuery = `
-- name: privileges_needed
WITH tables AS (
	SELECT c.oid, 'SELECT, INSERT, UPDATE, DELETE' AS needs
	FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
	WHERE n.nspname = $1 AND c.relkind IN ('r', 'p')
	UNION ALL
	SELECT to_regclass(name), needs
	FROM (VALUES ('activities', 'SELECT, INSERT, UPDATE, DELETE'), ('ingest_rejects', 'SELECT, INSERT, UPDATE, DELETE'),
	             ('ingest_versions', 'SELECT, INSERT, UPDATE, DELETE'), ('user_locks', 'SELECT, INSERT, UPDATE, DELETE'),
	             ('worker_processes', 'SELECT, INSERT, UPDATE, DELETE'), ('acwr_backfills', 'SELECT, INSERT, UPDATE, DELETE'),
	             ('acwr_backfill_chunks', 'SELECT, INSERT, UPDATE, DELETE'), ('acwr_settings', 'SELECT'),
	             ('user_tokens', 'SELECT, INSERT, UPDATE, DELETE'), ('token_audit_log', 'SELECT, INSERT, UPDATE, DELETE'),
	             ('token_provider', 'SELECT, INSERT, UPDATE, DELETE'), ('user_settings', 'SELECT'), ($2, 'SELECT')) AS ours (name, needs)
	WHERE to_regclass(name) IS NOT NULL
), sequences AS (
	SELECT DISTINCT c.oid
	FROM pg_class AS c LEFT JOIN pg_depend AS d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
	WHERE c.relkind = 'S' AND (c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1) OR d.refobjid IN (SELECT oid FROM tables))
), policies AS (
	SELECT polrelid, polpermissive, polqual
	FROM pg_policy
	WHERE polcmd IN ('r', '*') AND EXISTS (SELECT FROM unnest(polroles) AS role WHERE CASE role WHEN 0 THEN true ELSE pg_has_role(role, 'USAGE') END)
)
SELECT needs, 'TABLE ' || oid::regclass,
       (SELECT bool_and(has_table_privilege(oid, p)) FROM unnest(string_to_array(needs, ', ')) AS p),
       row_security_active(oid) AND NOT EXISTS (
           SELECT FROM policies WHERE polrelid = tables.oid HAVING bool_or(polpermissive AND pg_get_expr(polqual, polrelid) = 'true') AND bool_and(polpermissive)), false
FROM tables
UNION ALL
SELECT 'USAGE, SELECT, UPDATE', 'SEQUENCE ' || oid::regclass,
       has_sequence_privilege(oid, 'USAGE') AND has_sequence_privilege(oid, 'SELECT') AND has_sequence_privilege(oid, 'UPDATE'), false, false
FROM sequences
UNION ALL
SELECT 'EXECUTE', format('FUNCTION %s', p.oid::regprocedure), has_function_privilege(p.oid, 'EXECUTE'), false, p.proname IN ('purge_athlete', 'explain_reject')
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = $1 AND p.proname IN ('token_expiry_stored', 'token_expiry_seconds', 'purge_athlete', 'explain_reject')
   OR p.proname = 'acwr_resembles' AND pg_function_is_visible(p.oid)
UNION ALL
SELECT 'USAGE', format('SCHEMA %I', nspname), has_schema_privilege(oid, 'USAGE'), false, false
FROM pg_namespace WHERE nspname IN ($1, (SELECT nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass('activities')))
ORDER BY 2`

// Privilege is what a worker's role needs on one object.
type Privilege struct {
	Needs    string // as in GRANT: SELECT, INSERT
	On       string // as in GRANT: TABLE river.river_job
	Has      bool   // the current role has it
	Hidden   bool   // policies of row-level security hide rows from the current role
	Commands bool   // only commands need it; workers do not
}

// NeededPrivileges returns the privileges that a worker's role needs, and
// whether the current role has them.
func NeededPrivileges(ctx context.Context, db dbpool.Querier, riverSchema string) ([]Privilege, error) {
	return dbpool.Collect(ctx, db, "read privileges", pgx.RowToStructByPos[Privilege], neededQuery, riverSchema, versionTable)
}

// GrantWork lets an existing role run workers and the command line, but change no table's
// definition. Run again, it grants what was added since. It never returns a warning,
// because a worker may do more than call functions.
func GrantWork(ctx context.Context, pool *pgxpool.Pool, riverSchema, role string) (warning string, err error) {
	_, err = grant(ctx, pool, role, "working", func(tx pgx.Tx, to string) error {
		needed, err := NeededPrivileges(ctx, tx, riverSchema)
		if err != nil {
			return err
		}
		for _, p := range needed {
			if _, err := tx.Exec(ctx, "GRANT "+p.Needs+" ON "+p.On+" TO "+to); err != nil {
				return err
			}
		}
		return nil
	})
	return "", err
}
