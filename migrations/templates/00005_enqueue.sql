-- Functions with which any program enqueues jobs inside its own transaction:
-- what jobs.Enqueuer does, for those who do not speak Go.
--
-- They run with their owner's rights, so that enqueuing needs EXECUTE and no
-- access to a table. Their search_path holds nothing that a caller can create
-- in before pg_catalog, so names and operators mean the same for everyone; and
-- they live in River's schema, where only its owner can put an overload beside
-- them.

-- Inserts a job as River's own client does and wakes the workers of its queue
-- on commit. For the functions below; nobody else is to call it.
CREATE FUNCTION {schema}.insert_worker_job(kind text, queue text, priority integer, args jsonb)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job_id bigint;
BEGIN
    INSERT INTO {schema}.river_job (args, kind, max_attempts, priority, queue)
    VALUES (args, kind, 25, priority, queue)
    RETURNING id INTO job_id;
    PERFORM pg_notify({schema_literal} || '.river_insert', json_build_object('queue', queue)::text);
    RETURN job_id;
END
$$;

-- The faults that would cost a whole job are refused here, all at once. What is
-- wrong with an activity beyond them costs that activity alone, later: the
-- worker records it in ingest_rejects. (A NUL byte has been refused before: jsonb
-- cannot hold one.)
CREATE FUNCTION {schema}.enqueue_activity_ingest(activities jsonb, priority integer DEFAULT 1)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    amount integer;
    faults text;
BEGIN
    IF priority IS NULL OR priority NOT BETWEEN 1 AND 4 THEN
        RAISE invalid_parameter_value USING MESSAGE =
            format('priority: must be 1 (live) to 4, got %s', coalesce(priority::text, 'nothing'));
    ELSIF activities IS NULL OR jsonb_typeof(activities) <> 'array' THEN
        RAISE invalid_parameter_value USING MESSAGE =
            format('activities: must be an array, got %s', coalesce(jsonb_typeof(activities), 'nothing'));
    END IF;
    amount := jsonb_array_length(activities);
    IF amount NOT BETWEEN 1 AND 1000 THEN
        RAISE invalid_parameter_value USING MESSAGE = format('activities: a job takes 1 to 1000, got %s', amount);
    END IF;

    SELECT string_agg(
        format('activities[%s]: %s, got %s', place - 1, rule,
            CASE WHEN length(got::text) > 60 THEN left(got::text, 60) || '...' ELSE coalesce(got::text, 'nothing') END),
        E'\n' ORDER BY place, number)
    INTO faults
    FROM (
        SELECT place, number, rule, got
        FROM jsonb_array_elements(activities) WITH ORDINALITY AS element (activity, place),
        LATERAL (VALUES
            (1, 'must be an object', activity, jsonb_typeof(activity) = 'object'),
            (2, 'activity_id: must be a positive integer', activity->'activity_id',
                CASE WHEN activity->>'activity_id' ~ '^[1-9][0-9]{0,18}$' AND jsonb_typeof(activity->'activity_id') = 'number'
                    THEN (activity->>'activity_id')::numeric <= 9223372036854775807 END),
            (3, 'user_id: must be a positive 32-bit integer', activity->'user_id',
                CASE WHEN activity->>'user_id' ~ '^[1-9][0-9]{0,9}$' AND jsonb_typeof(activity->'user_id') = 'number'
                    THEN (activity->>'user_id')::numeric <= 2147483647 END),
            -- The 31st of a month of 30 days is the 1st of the next.
            (4, 'date: must be a date that exists, as YYYY-MM-DD between 1900-01-01 and 2999-12-31', activity->'date',
                CASE WHEN (activity->'date')::text ~ '^"(19|2[0-9])[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"$'
                    THEN extract(day FROM make_date(left(activity->>'date', 4)::integer, substr(activity->>'date', 6, 2)::integer, 1)
                        + (right(activity->>'date', 2)::integer - 1)) = right(activity->>'date', 2)::integer END)
        ) AS checks (number, rule, got, holds)
        WHERE holds IS NOT TRUE AND (number = 1 OR jsonb_typeof(activity) = 'object')
        ORDER BY place, number
        LIMIT 100
    ) AS first_faults;
    IF faults IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = faults;
    END IF;

    RETURN {schema}.insert_worker_job(
        'activity_ingest',
        CASE WHEN priority > 1 OR amount > 25 THEN 'ingest_bulk' ELSE 'ingest' END,
        priority,
        jsonb_build_object('activities', activities));
END
$$;

-- For whoever changed activities without an ingest job: both dates included.
CREATE FUNCTION {schema}.enqueue_acwr_recalc(user_id integer, from_date date, to_date date, priority integer DEFAULT 1)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    faults text := concat_ws('; ',
        CASE WHEN priority BETWEEN 1 AND 4 THEN NULL
            ELSE format('priority: must be 1 (live) to 4, got %s', coalesce(priority::text, 'nothing')) END,
        CASE WHEN user_id > 0 THEN NULL
            ELSE format('user_id: must be a positive integer, got %s', coalesce(user_id::text, 'nothing')) END,
        CASE WHEN from_date BETWEEN make_date(1900, 1, 1) AND make_date(2999, 12, 31) THEN NULL
            ELSE format('from_date: must lie between 1900-01-01 and 2999-12-31, got %s', coalesce(from_date::text, 'nothing')) END,
        CASE WHEN to_date BETWEEN make_date(1900, 1, 1) AND make_date(2999, 12, 31) THEN NULL
            ELSE format('to_date: must lie between 1900-01-01 and 2999-12-31, got %s', coalesce(to_date::text, 'nothing')) END,
        CASE WHEN to_date < from_date
            THEN format('to_date: must not lie before from_date (%s), got %s', from_date, to_date) END);
BEGIN
    IF faults <> '' THEN
        RAISE invalid_parameter_value USING MESSAGE = faults;
    END IF;
    RETURN {schema}.insert_worker_job(
        'acwr_recalc',
        CASE WHEN priority > 1 THEN 'recalc_bulk' ELSE 'recalc' END,
        priority,
        -- Not a cast to text: that depends on the caller's DateStyle.
        jsonb_build_object('ranges', jsonb_build_array(jsonb_build_object(
            'user_id', user_id, 'from', to_char(from_date, 'YYYY-MM-DD'), 'to', to_char(to_date, 'YYYY-MM-DD')))));
END
$$;

REVOKE ALL ON FUNCTION {schema}.insert_worker_job(text, text, integer, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.enqueue_activity_ingest(jsonb, integer) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.enqueue_acwr_recalc(integer, date, date, integer) FROM PUBLIC;
