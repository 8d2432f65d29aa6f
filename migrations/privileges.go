package migrations

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// neededQuery lists the privileges that a worker's role needs on existing objects, in the
// words of GRANT: every table of River's schema and of ours, the application's tables
// that are read, their sequences, the functions that are called, and the two schemas.
// Functions that PUBLIC may usually execute are among them: with ALTER DEFAULT PRIVILEGES,
// it may not. River's is in the predicate of an index, so every insert of a job calls it.
// Rows: privileges, object, whether the role $3 has them, which of them policies limit for
// the current role to some rows, the restrictive ones of these policies, and whether commands
// alone need it.
//
// Rows that policies hide are no error for UPDATE and DELETE, which do nothing instead. A
// command reaches all rows if of the policies for it one permissive policy is true, for
// the rows found and for those written, and every restrictive one is. Without WITH CHECK,
// USING is for both; without either, a permissive policy allows nothing, and a restrictive
// one everything.
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
	SELECT polrelid, polname, polpermissive, command,
	       command = 'INSERT' OR coalesce(pg_get_expr(polqual, polrelid) = 'true', NOT polpermissive) AS finds,
	       command IN ('SELECT', 'DELETE') OR coalesce(pg_get_expr(coalesce(polwithcheck, polqual), polrelid) = 'true', NOT polpermissive) AS writes
	FROM pg_policy JOIN (VALUES ('SELECT', 'r'), ('INSERT', 'a'), ('UPDATE', 'w'), ('DELETE', 'd')) AS commands (command, letter)
	     ON polcmd IN (letter::"char", '*')
	WHERE EXISTS (SELECT FROM unnest(polroles) AS role WHERE CASE role WHEN 0 THEN true ELSE pg_has_role(role, 'USAGE') END)
)
SELECT needs, 'TABLE ' || oid::regclass,
       (SELECT bool_and(has_table_privilege($3, oid, p)) FROM unnest(string_to_array(needs, ', ')) AS p),
       ARRAY(SELECT p FROM unnest(string_to_array(needs, ', ')) WITH ORDINALITY AS needed (p, n)
             WHERE row_security_active(oid) AND NOT EXISTS (
                 SELECT FROM policies WHERE polrelid = oid AND command = p
                 HAVING bool_or(polpermissive AND finds) AND bool_or(polpermissive AND writes) AND bool_and(polpermissive OR finds AND writes))
             ORDER BY n),
       ARRAY(SELECT DISTINCT quote_ident(polname) FROM policies
             WHERE row_security_active(oid) AND polrelid = oid AND command = ANY (string_to_array(needs, ', ')) AND NOT (polpermissive OR finds AND writes) ORDER BY 1), false
FROM tables
UNION ALL
SELECT 'USAGE, SELECT, UPDATE', 'SEQUENCE ' || oid::regclass,
       has_sequence_privilege($3, oid, 'USAGE') AND has_sequence_privilege($3, oid, 'SELECT') AND has_sequence_privilege($3, oid, 'UPDATE'), '{}', '{}', false
FROM sequences
UNION ALL
SELECT 'EXECUTE', format('FUNCTION %s', p.oid::regprocedure), has_function_privilege($3, p.oid, 'EXECUTE'), '{}', '{}',
       p.proname NOT IN ('token_expiry_stored', 'token_expiry_seconds', 'river_job_state_in_bitmask', 'acwr_resembles')
FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = $1 AND p.proname IN ('token_expiry_stored', 'token_expiry_seconds', 'river_job_state_in_bitmask', 'purge_athlete', 'explain_reject')
   OR p.proname IN (` + seriesFunctions + `) AND pg_function_is_visible(p.oid)
UNION ALL
SELECT 'USAGE', format('SCHEMA %I', nspname), has_schema_privilege($3, oid, 'USAGE'), '{}', '{}', false
FROM pg_namespace WHERE nspname IN ($1, (SELECT nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass('activities')))
ORDER BY 2`

// Privilege is what a worker's role needs on one object.
type Privilege struct {
	Needs       string   // as in GRANT: SELECT, INSERT
	On          string   // as in GRANT: TABLE river.river_job
	Has         bool     // the role has it
	Limited     []string // the ones that row-level security limits to some rows, or to none: UPDATE
	Restrictive []string // the restrictive policies that do so, which no other policy can outweigh
	Commands    bool     // only commands need it; workers do not
}

// NeededPrivileges returns the privileges that a worker's role needs, and
// whether the current role has them.
func NeededPrivileges(ctx context.Context, db dbpool.Querier, riverSchema string) ([]Privilege, error) {
	current, err := dbpool.CollectOne(ctx, db, "read the current role", pgx.RowTo[string], currentRoleQuery)
	if err != nil {
		return nil, err
	}
	return dbpool.Collect(ctx, db, "read privileges", pgx.RowToStructByPos[Privilege], neededQuery, riverSchema, versionTable, current)
}

const currentRoleQuery = `
-- name: current_role
SELECT current_user::text`
