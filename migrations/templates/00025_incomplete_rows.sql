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

-- acwr_series(user, from, to, rounding) as before, except that a history begins with the
-- least date that is finite. With one of -infinity the days of EWMA had no end, and no
-- window was before the first activity.
CREATE OR REPLACE FUNCTION acwr_series(user_id integer, from_date date, to_date date, rounding text DEFAULT 'none')
RETURNS TABLE (date date, total_load_miles double precision, trimp double precision,
               seven_day_avg_load real, twentyeight_day_avg_load real, seven_day_avg_trimp real, twentyeight_day_avg_trimp real,
               acute_chronic_ratio real, trimp_acute_chronic_ratio real, normalized_divergence real, quality text[])
LANGUAGE plpgsql STABLE SET extra_float_digits = 1 AS $$
#variable_conflict use_column
DECLARE
    athlete CONSTANT integer := $1;
    chosen {here}.acwr_settings;
    first_day date;
    first_activity date;
    decimal text := '%s::float8';
    average text := '%s';
    ratio text := '{here}.acwr_ratio(%s, %s)';
    divergence text := '{here}.acwr_divergence(external, internal)';
BEGIN
    IF to_date < from_date OR to_date - from_date > 150000 THEN
        RAISE EXCEPTION 'to_date must lie at most 150000 days after from_date (%), got %', from_date, to_date USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF rounding NOT IN ('none', 'app') THEN
        RAISE EXCEPTION 'rounding must be none or app, got %', rounding USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF rounding = 'app' THEN
        decimal := '%s::text::float8';
        average := '{here}.acwr_round(%s, 2)';
        ratio := '{here}.acwr_round({here}.acwr_ratio(%s, %s), 2)';
        divergence := '{here}.acwr_round({here}.acwr_divergence(external, internal), 3)';
    END IF;
    SELECT s.* INTO chosen FROM {here}.acwr_settings AS s WHERE s.user_id IN (0, athlete) ORDER BY s.user_id DESC LIMIT 1;
    first_day := from_date - (chosen.chronic_days - 1);
    IF chosen.formula = 'ewma' THEN
        SELECT least(first_day, min(a.date)) INTO first_day FROM {here}.activities AS a WHERE a.user_id = athlete AND isfinite(a.date);
    END IF;
    SELECT min(a.date) INTO first_activity FROM {here}.activities AS a WHERE a.user_id = athlete AND isfinite(a.date) AND a.type IS DISTINCT FROM 'rest';
    RETURN QUERY EXECUTE format($query$
        WITH recorded AS MATERIALIZED (
            SELECT a.date, a.activity_id, a.total_load_miles, a.trimp, a.avg_heart_rate, a.sport_type, a.distance_miles, a.elevation_gain_feet, a.duration_minutes,
                   EXISTS (
                       SELECT FROM {here}.activities AS e WHERE e.user_id = a.user_id AND e.date = a.date AND e.activity_id < a.activity_id
                       AND {here}.acwr_resembles(e.sport_type, e.type, e.start_time, e.distance_miles, e.duration_minutes,
                                                 a.sport_type, a.type, a.start_time, a.distance_miles, a.duration_minutes)) AS likely_double
            FROM {here}.activities AS a WHERE a.user_id = $1 AND a.date BETWEEN $2 AND $4
        ), counted AS MATERIALIZED (
            SELECT a.date, a.activity_id, a.likely_double,
                   CASE WHEN a.likely_double AND $7 THEN 0 ELSE coalesce(%1$s, 0) END AS load, CASE WHEN a.likely_double AND $7 THEN 0 ELSE coalesce(%2$s, 0) END AS trimp,
                   NOT (a.likely_double AND $7) AND coalesce(a.trimp, 0) = 0 AND coalesce(a.avg_heart_rate, 0) = 0 AND (a.total_load_miles > 0 OR a.duration_minutes > 0) AS no_heart_rate,
                   NOT (a.likely_double AND $7) AND {here}.acwr_implausible(a.sport_type, a.distance_miles, a.elevation_gain_feet, a.duration_minutes, a.total_load_miles) AS implausible
            FROM recorded AS a
        ), lists AS (
            SELECT array_agg(load ORDER BY date, activity_id) AS load, array_agg(trimp ORDER BY date, activity_id) AS trimp FROM counted
        ), days AS (
            SELECT d::date AS day, coalesce(sums.load, 0) AS load, coalesce(sums.trimp, 0) AS trimp,
                   array_remove(ARRAY[
                       CASE WHEN d::date < $5 + %3$s - 1 THEN 'short_history' END,
                       CASE WHEN sums.no_heart_rate THEN 'no_heart_rate' END,
                       CASE WHEN sums.implausible THEN 'implausible' END,
                       CASE WHEN sums.likely_double THEN 'likely_double' END,
                       CASE WHEN d::date > $6 THEN 'future' END], NULL) AS quality,
                   (sum(sums.activities) OVER (ORDER BY d))::integer AS until_day,
                   (sum(sums.activities) OVER (ORDER BY d ROWS BETWEEN UNBOUNDED PRECEDING AND 7 PRECEDING))::integer AS until_week,
                   (sum(sums.activities) OVER (ORDER BY d ROWS BETWEEN UNBOUNDED PRECEDING AND %3$s PRECEDING))::integer AS until_month
            FROM generate_series($2::timestamp, $4::timestamp, interval '1 day') AS d
            LEFT JOIN (
                SELECT date, sum(load ORDER BY activity_id) AS load, sum(trimp ORDER BY activity_id) AS trimp, count(*) AS activities,
                       bool_or(no_heart_rate) AS no_heart_rate, bool_or(implausible) AS implausible, bool_or(likely_double) AS likely_double
                FROM counted GROUP BY date
            ) AS sums ON sums.date = d::date
        ), means AS (
            SELECT day, load, trimp, quality, %4$s AS acute_load, %5$s AS chronic_load, %6$s AS acute_trimp, %7$s AS chronic_trimp
            FROM days
            WINDOW week AS (ORDER BY day ROWS 6 PRECEDING), history AS (ORDER BY day ROWS UNBOUNDED PRECEDING),
                   month AS (ORDER BY day ROWS %3$s - 1 PRECEDING), before AS (ORDER BY day ROWS BETWEEN %3$s - 1 PRECEDING AND 7 PRECEDING)
        ), stored AS (
            SELECT day, load, trimp, quality, %8$s AS acute_load, %9$s AS chronic_load, %10$s AS acute_trimp, %11$s AS chronic_trimp
            FROM means WHERE day >= $3
        ), ratios AS (
            SELECT *, %12$s AS external, %13$s AS internal FROM stored
        ), diverging AS (
            SELECT *, %14$s AS divergence FROM ratios
        )
        SELECT day, load, trimp, {here}.acwr_real(acute_load), {here}.acwr_real(chronic_load), {here}.acwr_real(acute_trimp), {here}.acwr_real(chronic_trimp),
               {here}.acwr_real(external), {here}.acwr_real(internal), {here}.acwr_real(divergence), quality
        FROM diverging ORDER BY day $query$,
        format(decimal, 'a.total_load_miles'), format(decimal, 'a.trimp'), chosen.chronic_days,
        {here}.acwr_mean_expression(chosen, rounding, 'load', true), {here}.acwr_mean_expression(chosen, rounding, 'load', false),
        {here}.acwr_mean_expression(chosen, rounding, 'trimp', true), {here}.acwr_mean_expression(chosen, rounding, 'trimp', false),
        format(average, 'acute_load'), format(average, 'chronic_load'), format(average, 'acute_trimp'), format(average, 'chronic_trimp'),
        format(ratio, 'acute_load', 'chronic_load'), format(ratio, 'acute_trimp', 'chronic_trimp'), divergence)
    USING athlete, first_day, from_date, to_date, coalesce(first_activity, 'infinity'), {here}.acwr_today(athlete), chosen.doubles = 'ignore-later';
END $$;

-- acwr_series(user, rounding), too: with -infinity it began with the year 1616.
CREATE OR REPLACE FUNCTION acwr_series(user_id integer, rounding text DEFAULT 'none')
RETURNS TABLE (date date, total_load_miles double precision, trimp double precision,
               seven_day_avg_load real, twentyeight_day_avg_load real, seven_day_avg_trimp real, twentyeight_day_avg_trimp real,
               acute_chronic_ratio real, trimp_acute_chronic_ratio real, normalized_divergence real, quality text[])
LANGUAGE sql STABLE AS $$
    SELECT s.*
    FROM (SELECT greatest(min(a.date), {here}.acwr_today($1) - 150000) AS first, {here}.acwr_today($1) AS today
          FROM {here}.activities AS a WHERE a.user_id = $1 AND isfinite(a.date) HAVING min(a.date) <= {here}.acwr_today($1)) AS bounds
    CROSS JOIN LATERAL {here}.acwr_series($1, bounds.first, bounds.today, $2) AS s
$$;
