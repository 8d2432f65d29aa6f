-- A field that enqueue_activity_ingest does not know was passed over: "load" in
-- place of total_load_miles was answered with an id, and stored NULL over what was
-- there. Now a field is refused that is neither an activity's nor another column of
-- the table, and so are texts in place of numbers, numbers in place of texts, and
-- quantities below 0. Jobs that wait already are worked as before.

-- The name in candidates that shares most pairs of letters with a name, NULL where
-- none shares a third of them.
CREATE OR REPLACE FUNCTION {schema}.nearest_name(name text, candidates text[])
RETURNS text
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT candidate
    FROM unnest(candidates) AS candidate,
    LATERAL (
        SELECT count(*) AS shared
        FROM (SELECT DISTINCT substr(lower(name), i, 2) AS pair FROM generate_series(1, length(name) - 1) AS i) AS given
        JOIN (SELECT DISTINCT substr(candidate, i, 2) AS pair FROM generate_series(1, length(candidate) - 1) AS i) AS known USING (pair)
    ) AS pairs
    WHERE 6 * shared >= length(name) + length(candidate) - 2
    ORDER BY shared::float8 / (length(name) + length(candidate) - 2) DESC, candidate
    LIMIT 1
$$;

REVOKE ALL ON FUNCTION {schema}.nearest_name(text, text[]) FROM PUBLIC;

-- As before, and with the fields.
CREATE OR REPLACE FUNCTION {schema}.enqueue_activity_ingest(activities jsonb, priority integer DEFAULT 1)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    numbers CONSTANT text[] := ARRAY[
        'distance_miles', 'elevation_gain_feet', 'elevation_load_miles', 'total_load_miles', 'avg_heart_rate',
        'max_heart_rate', 'duration_minutes', 'trimp', 'time_in_zone1', 'time_in_zone2', 'time_in_zone3', 'time_in_zone4',
        'time_in_zone5', 'average_speed_mph', 'cycling_equivalent_miles', 'cycling_elevation_factor',
        'swimming_equivalent_miles', 'strength_equivalent_miles', 'rowing_equivalent_miles',
        'backcountry_skiing_equivalent_miles', 'strength_rpe', 'hr_stream_sample_count', 'avg_temp_f', 'trimp_dynamic'];
    texts CONSTANT text[] := ARRAY[
        'name', 'type', 'sport_type', 'trimp_calculation_method', 'trimp_processed_at', 'start_time', 'device_name'];
    flags CONSTANT text[] := ARRAY['deleted', 'partial', 'day_from_utc', 'unloaded'];
    others CONSTANT text[] := ARRAY['activity_id', 'user_id', 'date'];
    -- Columns of the table that are not synced: an export of it has them.
    unsynced CONSTANT text[] := ARRAY[
        'notes', 'weight_lbs', 'perceived_effort', 'feeling_score', 'seven_day_avg_load', 'twentyeight_day_avg_load',
        'seven_day_avg_trimp', 'twentyeight_day_avg_trimp', 'acute_chronic_ratio', 'trimp_acute_chronic_ratio',
        'normalized_divergence', 'ingest_job_id', 'ingest_day_from_utc', 'ingest_alone'];
    known CONSTANT text[] := numbers || texts || flags || others;
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
        E'\n' ORDER BY place, number, rule COLLATE "C")
    INTO faults
    FROM (
        SELECT place, number, rule, got
        FROM jsonb_array_elements(activities) WITH ORDINALITY AS element (activity, place),
        LATERAL (
            SELECT * FROM (VALUES
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
            ) AS required (number, rule, got, holds)
            WHERE holds IS NOT TRUE AND (number = 1 OR jsonb_typeof(activity) = 'object')
            UNION ALL
            SELECT 5, 'unknown field ' || key || coalesce(' (did you mean ' || {schema}.nearest_name(key, numbers || texts || others) || '?)', ''), value, false
            FROM jsonb_each(CASE WHEN jsonb_typeof(activity) = 'object' THEN activity - known - unsynced ELSE '{}' END)
            UNION ALL
            SELECT 6, key || ': must ' || CASE
                WHEN key <> ALL (numbers) THEN CASE WHEN key = ANY (texts) THEN 'be a text' ELSE 'be true or false' END
                WHEN jsonb_typeof(value) = 'number' THEN 'not be negative' ELSE 'be a number' END, value, false
            FROM jsonb_each(CASE WHEN jsonb_typeof(activity) = 'object' THEN activity ELSE '{}' END)
            WHERE CASE jsonb_typeof(value)
                WHEN 'number' THEN key = ANY (texts || flags) OR value < '0' AND key <> 'avg_temp_f' AND key = ANY (numbers)
                WHEN 'string' THEN key = ANY (numbers || flags)
                WHEN 'boolean' THEN key = ANY (numbers || texts)
                WHEN 'null' THEN false
                ELSE key = ANY (numbers || texts || flags) END
        ) AS checks (number, rule, got, holds)
        ORDER BY place, number, rule COLLATE "C"
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
