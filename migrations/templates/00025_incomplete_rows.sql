-- purge_athlete as before, except that it finds the rows that it has locked by their
-- place: where activity_id has no key, it left an athlete's rows without an id, and
-- answered that it was done. A row of the audit log that was written meanwhile stayed, too.
CREATE OR REPLACE FUNCTION {schema}.purge_athlete(user_id integer, audit_retention interval DEFAULT interval '17520 hours')
RETURNS jsonb
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    athlete CONSTANT integer := $1;
    retention CONSTANT interval := $2;
    max_rows CONSTANT integer := 1000; -- of a table, in one call
    max_jobs CONSTANT integer := 1000; -- searched in one call
    job_ids CONSTANT regclass := pg_get_serial_sequence(format('%I.river_job', {schema_literal}), 'id')::regclass;
    named CONSTANT jsonb[] := ARRAY[
        jsonb_build_object('activities', jsonb_build_array(jsonb_build_object('user_id', athlete))),
        jsonb_build_object('activities', jsonb_build_array(jsonb_build_object('user_id', athlete::text))),
        jsonb_build_object('ranges', jsonb_build_array(jsonb_build_object('user_id', athlete))),
        jsonb_build_object('user_ids', jsonb_build_array(athlete))];
    locked_places tid[];
    searched bigint;
    found bigint[];
    searched_jobs integer;
    job record;
    in_hand integer;
    first_in_hand bigint;
    removed jsonb := '{}';
    removed_rows bigint;
    removed_jobs bigint := 0;
    done boolean := true;
    worker CONSTANT text := current_setting('trainingmonkey.worker', true);
BEGIN
    IF athlete IS NULL OR athlete <= 0 THEN
        RAISE invalid_parameter_value USING MESSAGE = format('user_id: must be a positive integer, got %s', coalesce(athlete::text, 'nothing'));
    ELSIF retention < interval '0' THEN
        RAISE invalid_parameter_value USING MESSAGE = format('audit_retention: must not be negative, got %s', retention);
    ELSIF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        -- The snapshot would be from before the lock.
        RAISE invalid_transaction_state USING MESSAGE = format('purge_athlete needs a transaction of isolation level read committed, not %s', current_setting('transaction_isolation'));
    END IF;

    -- Searching takes longest, so it comes before the lock.
    SELECT purge_searched INTO searched FROM {here}.user_locks AS l WHERE l.user_id = athlete;
    IF searched IS NULL OR searched > coalesce(pg_sequence_last_value(job_ids), 0) THEN
        searched := 0;
    END IF;
    SELECT coalesce(max(j.id), searched), count(*), array_agg(j.id) FILTER (WHERE j.names_user)
    INTO searched, searched_jobs, found
    FROM (
        SELECT id, kind IN ('activity_ingest', 'acwr_recalc', 'token_refresh') AND args @> ANY (named) AS names_user
        FROM {schema}.river_job WHERE id > searched ORDER BY id LIMIT max_jobs
    ) AS j;
    done := searched_jobs < max_jobs;

    -- Nothing is left to recalculate: change capture is to enqueue nothing.
    PERFORM set_config('trainingmonkey.worker', 'on', true);
    INSERT INTO {here}.user_locks (user_id) VALUES (athlete) ON CONFLICT DO NOTHING;
    PERFORM FROM {here}.user_locks AS l WHERE l.user_id = athlete FOR UPDATE;

    -- A row that somebody wrote while this waited for it is only visible to the next statement.
    SELECT array_agg(place) INTO locked_places FROM (
        SELECT a.ctid AS place FROM {here}.activities AS a WHERE a.user_id = athlete ORDER BY a.activity_id, a.ctid LIMIT max_rows FOR UPDATE) AS locked;
    DELETE FROM {here}.activities AS a WHERE a.ctid = ANY (locked_places) AND a.user_id = athlete;
    GET DIAGNOSTICS removed_rows = ROW_COUNT;
    done := done AND removed_rows < max_rows;
    removed := removed || jsonb_build_object('activities', removed_rows);
    IF removed_rows < max_rows THEN
        -- With activities there, the trigger would enqueue their recalculation.
        DELETE FROM {here}.acwr_settings AS s WHERE s.user_id = athlete;
        GET DIAGNOSTICS removed_rows = ROW_COUNT;
        removed := removed || jsonb_build_object('acwr_settings', removed_rows);
    END IF;

    DELETE FROM {here}.ingest_versions AS v WHERE v.user_id = athlete AND v.activity_id IN (
        SELECT o.activity_id FROM {here}.ingest_versions AS o WHERE o.user_id = athlete ORDER BY o.activity_id LIMIT max_rows FOR UPDATE);
    GET DIAGNOSTICS removed_rows = ROW_COUNT;
    done := done AND removed_rows < max_rows;
    removed := removed || jsonb_build_object('ingest_versions', removed_rows);

    DELETE FROM {here}.ingest_rejects WHERE id IN (
        SELECT r.id FROM {here}.ingest_rejects AS r
        WHERE r.user_id = athlete OR r.user_id IS NULL AND (r.payload @> jsonb_build_object('user_id', athlete) OR r.payload @> jsonb_build_object('user_id', athlete::text))
        ORDER BY r.id LIMIT max_rows FOR UPDATE);
    GET DIAGNOSTICS removed_rows = ROW_COUNT;
    done := done AND removed_rows < max_rows;
    removed := removed || jsonb_build_object('ingest_rejects', removed_rows);

    -- The tokens before their log: a refresh that stores some now writes its audit row first.
    DELETE FROM {here}.user_tokens AS t WHERE t.user_id = athlete;
    GET DIAGNOSTICS removed_rows = ROW_COUNT;
    removed := removed || jsonb_build_object('user_tokens', removed_rows);
    SELECT array_agg(place) INTO locked_places FROM (
        SELECT t.ctid AS place FROM {here}.token_audit_log AS t
        WHERE t.user_id = athlete AND (retention = interval '0' OR t.timestamp < now() - retention)
        LIMIT max_rows FOR UPDATE) AS locked;
    DELETE FROM {here}.token_audit_log AS t WHERE t.ctid = ANY (locked_places) AND t.user_id = athlete;
    GET DIAGNOSTICS removed_rows = ROW_COUNT;
    done := done AND removed_rows < max_rows;
    removed := removed || jsonb_build_object('token_audit_log', removed_rows);

    -- Whoever has a job in hand may be waiting for the athlete's lock.
    FOR job IN
        SELECT j.id, {schema}.args_without_user(j.kind, j.args, athlete) AS rest
        FROM {schema}.river_job AS j WHERE j.id = ANY (found) AND j.state <> 'running' ORDER BY j.id FOR UPDATE SKIP LOCKED
    LOOP
        IF job.rest IS NULL THEN
            DELETE FROM {schema}.river_job AS j WHERE j.id = job.id;
        ELSE
            UPDATE {schema}.river_job AS j SET args = job.rest WHERE j.id = job.id;
        END IF;
        removed_jobs := removed_jobs + 1;
    END LOOP;
    SELECT count(*), min(j.id) INTO in_hand, first_in_hand FROM {schema}.river_job AS j WHERE j.id = ANY (found) AND j.args @> ANY (named);
    done := done AND in_hand = 0;
    removed := removed || jsonb_build_object('river_job', removed_jobs);

    -- After the rejects: who was trying one again when its row went has enqueued it by now.
    UPDATE {here}.user_locks AS l
    SET purged_through = greatest(l.purged_through, coalesce(pg_sequence_last_value(job_ids), 0)), purged_at = clock_timestamp(),
        purge_searched = coalesce(first_in_hand - 1, searched)
    WHERE l.user_id = athlete;
    PERFORM set_config('trainingmonkey.worker', coalesce(worker, ''), true);
    RETURN jsonb_build_object('done', done, 'removed', removed, 'in_hand', in_hand);
END
$$;
