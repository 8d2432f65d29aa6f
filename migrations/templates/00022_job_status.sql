-- job_status says what became of jobs, to whoever enqueued them: also for a while
-- after their rows are gone. A job that ends well leaves nothing but its effects: a
-- row each would be one more for every activity. So what is kept is what is not
-- ordinary, and a job that was issued, is in no table and is not known to have ended
-- otherwise was done.

-- Jobs that ended without being done, from when their rows went.
CREATE TABLE IF NOT EXISTS {schema}.worker_job_outcomes (
    job_id      bigint PRIMARY KEY,
    kind        text NOT NULL,
    state       text NOT NULL CONSTRAINT outcome_is_not_done CHECK (state IN ('failed', 'cancelled')),
    attempt     integer NOT NULL,
    finished_at timestamptz NOT NULL
);

-- From time to time: up to which id the rows of all jobs were gone. The lowest is
-- up to where nothing is known any more; workers delete those below one that is
-- older than river.job_status_retention.
CREATE TABLE IF NOT EXISTS {schema}.worker_job_marks (
    job_id   bigint PRIMARY KEY,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What failed before today and is gone left no trace.
INSERT INTO {schema}.worker_job_marks (job_id)
SELECT coalesce((SELECT min(id) - 1 FROM {schema}.river_job),
    pg_sequence_last_value(pg_get_serial_sequence(format('%I.river_job', {schema_literal}), 'id')::regclass), 0)
WHERE NOT EXISTS (SELECT FROM {schema}.worker_job_marks);

-- When the row goes and not before: until then a failed job may be retried. A row
-- that somebody deletes while it waits was as good as cancelled; one that a lane
-- deletes was completed by that.
CREATE OR REPLACE FUNCTION {schema}.keep_job_outcome() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO {schema}.worker_job_outcomes (job_id, kind, state, attempt, finished_at)
    VALUES (OLD.id, OLD.kind, CASE OLD.state WHEN 'discarded' THEN 'failed' ELSE 'cancelled' END, OLD.attempt, coalesce(OLD.finalized_at, clock_timestamp()))
    ON CONFLICT (job_id) DO UPDATE SET kind = excluded.kind, state = excluded.state, attempt = excluded.attempt, finished_at = excluded.finished_at;
    RETURN NULL;
END
$$;

-- AFTER, because BEFORE would lock each row once more; and with a condition, so
-- that nothing is called for what was completed.
DROP TRIGGER IF EXISTS worker_keep_job_outcome ON {schema}.river_job;
CREATE TRIGGER worker_keep_job_outcome AFTER DELETE ON {schema}.river_job
FOR EACH ROW WHEN (OLD.state IN ('discarded', 'cancelled') OR OLD.state <> 'completed' AND current_setting('trainingmonkey.worker', true) IS DISTINCT FROM 'on')
EXECUTE FUNCTION {schema}.keep_job_outcome();

CREATE INDEX IF NOT EXISTS ingest_rejects_job_id_idx ON ingest_rejects (job_id);

-- Why an activity was rejected, for programs and for its athlete: neither has the
-- words of ingest_rejects.reason, which are an operator's. Of several faults it is the
-- first. Codes are added and never renamed.
CREATE OR REPLACE FUNCTION {schema}.explain_reject(reason text, OUT code text, OUT field text, OUT message text)
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT kinds.code, given.field, format(kinds.message, coalesce(names.name, 'one of its values'))
    FROM (SELECT substring(reason FROM '^([a-z][a-z0-9_]*): ')) AS given (field)
    LEFT JOIN (VALUES
        ('activity_id', 'number'), ('date', 'date'), ('name', 'name'), ('type', 'type'), ('sport_type', 'sport'), ('device_name', 'device'),
        ('distance_miles', 'distance'), ('elevation_gain_feet', 'elevation gain'), ('elevation_load_miles', 'training load of its climbing'),
        ('total_load_miles', 'training load'), ('avg_heart_rate', 'average heart rate'), ('max_heart_rate', 'maximum heart rate'),
        ('duration_minutes', 'duration'), ('trimp', 'heart-rate load'), ('average_speed_mph', 'average speed'),
        ('strength_rpe', 'perceived effort'), ('start_time', 'start time'), ('avg_temp_f', 'temperature')
    ) AS names (field, name) ON names.field = given.field
    CROSS JOIN LATERAL (SELECT CASE
        WHEN reason = 'activity_id belongs to another user' THEN 'other_athlete'
        WHEN reason LIKE 'refused by the database: %' THEN 'not_storable'
        WHEN given.field = 'date' THEN 'invalid_date'
        WHEN given.field IS NULL THEN 'unreadable'
        WHEN reason ~ '^[a-z0-9_]+: (must lie between|must not be negative|must be 1 to 10|number .* is out of range|must be a finite number)' THEN 'out_of_range'
        WHEN reason ~ '^[a-z0-9_]+: (holds|is longer than|is not valid UTF-8)' THEN 'invalid_text'
        ELSE 'invalid_value' END) AS found (code)
    JOIN (VALUES
        ('other_athlete', 'This activity was not stored, because it belongs to another athlete''s account.'),
        ('not_storable', 'This activity could not be stored.'),
        ('invalid_date', 'This activity was not stored, because its date is missing or does not exist.'),
        ('unreadable', 'This activity was not stored, because it could not be read.'),
        ('out_of_range', 'This activity was not stored, because %s cannot be that low or that high.'),
        ('invalid_text', 'This activity was not stored, because %s holds text that cannot be stored or is too long.'),
        ('invalid_value', 'This activity was not stored, because %s cannot be read.')
    ) AS sentences (code, sentence) ON sentences.code = found.code
    CROSS JOIN LATERAL (SELECT found.code, replace(sentences.sentence, '%s', CASE WHEN names.name IS NULL THEN '%s' ELSE 'its %s' END)) AS kinds (code, message)
$$;

-- Whether a user belongs to the given percent of all: internal/config's InRollout.
CREATE OR REPLACE FUNCTION {schema}.in_rollout(user_id bigint, percent integer) RETURNS boolean
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT mod(div(mod(user_id * 11400714819323198485, 18446744073709551616), 4294967296), 100) < percent
$$;

-- One row for each of the ids, in their order. docs/python.md has what the columns
-- say, and on what "done" rests.
--
-- That a row is absent says something only to a snapshot that is younger than the
-- job, on the server that wrote it: so the function is volatile, and looks anew where the
-- statement that asks has enqueued the job. The settings are a lane's, for the same reason: a
-- plan of when the tables were small is not to scan them later.
CREATE OR REPLACE FUNCTION {schema}.job_status(ids bigint[])
RETURNS TABLE (job_id bigint, kind text, state text, attempt integer, next_attempt_at timestamptz, finished_at timestamptz,
               activities integer, stored integer, unchanged integer, rejected integer, rejects jsonb, results_written boolean, known_by text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    last_id bigint;
    gone_through bigint;
    absence_tells CONSTANT boolean := current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') AND NOT pg_is_in_recovery();
    always_written integer; -- percent for which all workers write results
    ever_written integer;   -- and some
BEGIN
    IF cardinality(ids) > 1000 THEN
        RAISE invalid_parameter_value USING MESSAGE = format('ids: at most 1000 at once, got %s', cardinality(ids));
    END IF;
    last_id := coalesce(pg_sequence_last_value(pg_get_serial_sequence(format('%I.river_job', {schema_literal}), 'id')::regclass), 0);
    SELECT min(m.job_id) INTO gone_through FROM {schema}.worker_job_marks AS m;
    SELECT CASE WHEN bool_and(w.percent IS NOT NULL) THEN min(w.percent) END, CASE WHEN bool_and(w.percent IS NOT NULL) THEN max(w.percent) END
    INTO always_written, ever_written
    FROM (
        SELECT CASE WHEN p.acwr_write <> 'on' THEN 0 ELSE p.acwr_rollout_percent END AS percent
        FROM {here}.worker_processes AS p
        ORDER BY p.died_at IS NULL AND p.beat_at > clock_timestamp() - interval '8 seconds' DESC, p.started_at DESC
        -- Those that live; where none does, the one that did last.
        LIMIT greatest(1, (SELECT count(*) FROM {here}.worker_processes AS a WHERE a.died_at IS NULL AND a.beat_at > clock_timestamp() - interval '8 seconds'))
    ) AS w;

    RETURN QUERY
    SELECT given.id, coalesce(j.kind, o.kind), s.state, coalesce(j.attempt::integer, o.attempt),
           CASE WHEN s.state = 'queued' AND j.state <> 'running' THEN j.scheduled_at END,
           coalesce(j.finalized_at, o.finished_at),
           c.activities, CASE WHEN s.state = 'done' THEN c.stored WHEN c.activities IS NOT NULL THEN 0 END,
           CASE WHEN s.state = 'done' THEN c.unchanged WHEN c.activities IS NOT NULL THEN 0 END,
           r.rejected, r.rejects,
           CASE
               WHEN s.state IN ('failed', 'cancelled') THEN false
               WHEN s.state <> 'done' OR j.id IS NULL THEN NULL
               WHEN c.without_results > 0 THEN false
               WHEN u.all_in THEN true
               WHEN u.one_out THEN false
           END,
           CASE WHEN j.id IS NOT NULL THEN 'job' WHEN o.job_id IS NOT NULL THEN 'record' WHEN s.state = 'done' THEN 'absence' END
    FROM unnest(ids) WITH ORDINALITY AS given (id, place)
    LEFT JOIN {schema}.river_job AS j ON j.id = given.id
    LEFT JOIN {schema}.worker_job_outcomes AS o ON o.job_id = given.id AND j.id IS NULL
    CROSS JOIN LATERAL (SELECT CASE
        WHEN j.state = 'completed' THEN 'done'
        WHEN j.state = 'discarded' THEN 'failed'
        WHEN j.state = 'cancelled' THEN 'cancelled'
        WHEN j.id IS NOT NULL THEN 'queued'
        WHEN o.job_id IS NOT NULL THEN o.state
        WHEN absence_tells AND given.id > gone_through AND given.id <= last_id THEN 'done'
        ELSE 'unknown' END) AS s (state)
    CROSS JOIN LATERAL (
        SELECT count(*)::integer AS rejected,
               coalesce(jsonb_agg(jsonb_build_object('activity_id', x.activity_id, 'code', e.code, 'field', e.field, 'message', e.message) ORDER BY x.id), '[]') AS rejects
        FROM {here}.ingest_rejects AS x CROSS JOIN LATERAL {schema}.explain_reject(x.reason) AS e
        WHERE x.job_id = given.id AND s.state <> 'unknown'
    ) AS r
    LEFT JOIN LATERAL (
        -- The args are those of jobs that nobody has looked into yet as well.
        SELECT CASE jsonb_typeof(j.args->'activities') WHEN 'array' THEN jsonb_array_length(j.args->'activities') END AS activities,
               (count(*) FILTER (WHERE CASE WHEN n.deleted THEN a.activity_id IS NULL ELSE a.ingest_job_id = j.id END))::integer AS stored,
               (count(*) FILTER (WHERE NOT n.deleted AND coalesce(a.ingest_job_id, 0) < j.id AND a.activity_id IS NOT NULL
                   AND NOT EXISTS (SELECT FROM {here}.ingest_rejects AS x WHERE x.job_id = j.id AND x.activity_id = n.activity_id)))::integer AS unchanged,
               count(*) FILTER (WHERE NOT n.deleted AND a.ingest_job_id = j.id AND a.acute_chronic_ratio IS NULL) AS without_results
        FROM (
            SELECT DISTINCT ON (1) CASE WHEN each->>'activity_id' ~ '^[1-9][0-9]{0,17}$' THEN (each->>'activity_id')::bigint END AS activity_id,
                   each->'user_id' AS user_id, each->'deleted' IS NOT DISTINCT FROM 'true' AS deleted
            FROM jsonb_array_elements(CASE jsonb_typeof(j.args->'activities') WHEN 'array' THEN j.args->'activities' ELSE '[]' END) WITH ORDINALITY AS listed (each, place)
            ORDER BY 1, place DESC
        ) AS n
        LEFT JOIN LATERAL (
            SELECT stored.activity_id, stored.ingest_job_id, stored.acute_chronic_ratio
            FROM {here}.activities AS stored WHERE stored.activity_id = n.activity_id AND to_jsonb(stored.user_id) = n.user_id
            OFFSET 0 -- by the key, however many the planner expects
        ) AS a ON true
    ) AS c ON j.kind = 'activity_ingest' AND jsonb_typeof(j.args->'activities') = 'array'
    CROSS JOIN LATERAL (
        SELECT CASE WHEN always_written = 100 THEN true ELSE bool_and({schema}.in_rollout(t.user_id, always_written)) END AS all_in,
               CASE WHEN ever_written = 0 THEN true ELSE bool_or(NOT {schema}.in_rollout(t.user_id, ever_written)) END AS one_out
        FROM (
            SELECT DISTINCT CASE WHEN each->>'user_id' ~ '^[1-9][0-9]{0,9}$' THEN (each->>'user_id')::bigint END
            FROM jsonb_array_elements(CASE
                WHEN always_written = 100 OR ever_written = 0 OR s.state <> 'done' THEN '[]'
                WHEN jsonb_typeof(j.args->'activities') = 'array' THEN j.args->'activities'
                WHEN jsonb_typeof(j.args->'ranges') = 'array' THEN j.args->'ranges' ELSE '[]' END) AS listed (each)
        ) AS t (user_id)
        WHERE j.kind IN ('activity_ingest', 'acwr_recalc')
    ) AS u
    ORDER BY given.place;
END
$$;

REVOKE ALL ON FUNCTION {schema}.keep_job_outcome() FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.explain_reject(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.in_rollout(bigint, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.job_status(bigint[]) FROM PUBLIC;

-- Who may enqueue may ask.
DO $$
DECLARE
    grantee text;
BEGIN
    FOR grantee IN
        SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END
        FROM pg_proc AS p, aclexplode(p.proacl) AS acl
        WHERE p.oid = format('%I.enqueue_activity_ingest(jsonb, integer)', {schema_literal})::regprocedure
          AND acl.privilege_type = 'EXECUTE' AND acl.grantee <> p.proowner
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %I.job_status(bigint[]) TO %s', {schema_literal}, grantee);
    END LOOP;
END
$$;
