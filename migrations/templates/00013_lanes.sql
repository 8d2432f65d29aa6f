-- A lane with a backlog promises to look for jobs by itself every few
-- milliseconds. Enqueuers that see it need not notify: transactions that do
-- commit one after the other, each waiting for the disk.
CREATE TABLE {schema}.worker_promises (
    queue       text PRIMARY KEY,
    awake_until timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50); -- updates stay HOT
INSERT INTO {schema}.worker_promises (queue) VALUES ('ingest'), ('ingest_bulk'), ('recalc'), ('recalc_bulk'), ('backfill');

CREATE OR REPLACE FUNCTION {schema}.insert_worker_job(kind text, queue text, priority integer, args jsonb)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    job_id bigint;
BEGIN
    INSERT INTO {schema}.river_job (args, kind, max_attempts, priority, queue)
    VALUES (args, kind, 25, priority, queue)
    RETURNING id INTO job_id;
    IF NOT EXISTS (SELECT FROM {schema}.worker_promises AS p WHERE p.queue = queue AND p.awake_until > clock_timestamp()) THEN
        PERFORM pg_notify({schema_literal} || '.river_insert', json_build_object('queue', queue)::text);
    END IF;
    RETURN job_id;
END
$$;

-- When a process was found to have died without deregistering: the others are
-- careful for a while.
ALTER TABLE worker_processes ADD COLUMN died_at timestamptz;
