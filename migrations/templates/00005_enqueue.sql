-- Enqueues the recalculation of one user's ACWR for dates whose activities
-- changed, inside the caller's own transaction: nothing happens if that rolls
-- back, and a worker starts within milliseconds of its commit. Returns the
-- job's id. The caller needs EXECUTE and nothing else.
CREATE FUNCTION enqueue_acwr_recalc(user_id integer, from_date date, to_date date) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    job_id bigint;
BEGIN
    IF user_id IS NULL OR user_id <= 0 THEN
        RAISE EXCEPTION 'user_id must be a positive integer, got %', coalesce(user_id::text, 'NULL') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF from_date IS NULL OR from_date NOT BETWEEN '1900-01-01' AND '2999-12-31' THEN
        RAISE EXCEPTION 'from_date must lie between 1900-01-01 and 2999-12-31, got %', coalesce(from_date::text, 'NULL') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF to_date IS NULL OR to_date NOT BETWEEN from_date AND '2999-12-31' THEN
        RAISE EXCEPTION 'to_date must lie between from_date (%) and 2999-12-31, got %', from_date, coalesce(to_date::text, 'NULL') USING ERRCODE = 'invalid_parameter_value';
    END IF;
    INSERT INTO {schema}.river_job (kind, queue, priority, max_attempts, state, args, metadata, tags)
    VALUES ('acwr_recalc', 'recalc', 1, 25, 'available',
            jsonb_build_object('ranges', jsonb_build_array(jsonb_build_object(
                'user_id', user_id, 'from', to_char(from_date, 'YYYY-MM-DD'), 'to', to_char(to_date, 'YYYY-MM-DD')))),
            '{}', '{}')
    RETURNING id INTO job_id;
    PERFORM pg_notify({schema_literal} || '.river_insert', '{"queue": "recalc"}');
    RETURN job_id;
END $$;
REVOKE ALL ON FUNCTION enqueue_acwr_recalc(integer, date, date) FROM PUBLIC;
