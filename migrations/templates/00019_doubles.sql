-- Likely doubles: the same training from two sources, a watch and an application
-- say, or uploaded once more under another id. Whether the later one counts is the
-- athlete's: with ignore-later it weighs nothing, and its row stays.

-- A constant default does not rewrite the table.
ALTER TABLE acwr_settings ADD COLUMN IF NOT EXISTS doubles text NOT NULL DEFAULT 'count'
    CONSTRAINT doubles_are_counted_or_ignored CHECK (doubles IN ('count', 'ignore-later'));

-- Whether two recordings of one athlete and day are likely of the same training,
-- by the rule of internal/trainingload, whose reasons are there. The columns may
-- have a collation under which nothing is compared byte by byte, hence COLLATE. An
-- expression without FROM is inlined. CASE keeps what is no time from being cast.
CREATE OR REPLACE FUNCTION acwr_resembles(sport text, type text, start text, miles double precision, minutes double precision,
    other_sport text, other_type text, other_start text, other_miles double precision, other_minutes double precision) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(
        minutes > 0 AND other_minutes > 0 AND greatest(minutes, other_minutes) < 'Infinity'::float8
        AND abs(minutes - other_minutes) <= 0.05::float8 * greatest(minutes, other_minutes)
        AND miles >= 0 AND other_miles >= 0 AND greatest(miles, other_miles) < 'Infinity'::float8
        AND abs(miles - other_miles) <= 0.05::float8 * greatest(miles, other_miles)
        AND CASE WHEN sport <> '' AND other_sport <> '' THEN sport = other_sport COLLATE "C"
            ELSE type <> '' AND type = other_type COLLATE "C" END
        AND CASE WHEN start = other_start COLLATE "C" THEN start <> ''
            WHEN start COLLATE "C" ~ '^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$' AND other_start COLLATE "C" ~ '^([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$'
            THEN abs(substr(start, 1, 2)::integer * 3600 + substr(start, 4, 2)::integer * 60 + substr(start, 7, 2)::integer
                - substr(other_start, 1, 2)::integer * 3600 - substr(other_start, 4, 2)::integer * 60 - substr(other_start, 7, 2)::integer) <= 300
            END, false)
$$;

-- A change of settings enqueues what it makes wrong in the same transaction: one
-- user's whole history, or, when the default changed, a backfill of everyone. Of a
-- user without activities that is nothing; greatest and least pass over NULLs.
CREATE OR REPLACE FUNCTION acwr_settings_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed integer := CASE WHEN TG_OP = 'DELETE' THEN OLD.user_id ELSE NEW.user_id END;
    first_date date;
    last_date date;
    backfill bigint;
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.user_id = 0 AND (TG_OP = 'DELETE' OR NEW.user_id <> 0) THEN
        RAISE EXCEPTION 'the row of user 0 is the default and has to stay; update it' USING ERRCODE = 'restrict_violation';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        IF NEW.user_id <> OLD.user_id THEN
            RAISE EXCEPTION 'user_id cannot be changed from % to %; delete the row and insert another one', OLD.user_id, NEW.user_id
                USING ERRCODE = 'restrict_violation';
        END IF;
        IF (NEW.formula, NEW.chronic_days, NEW.decay_rate, NEW.doubles) = (OLD.formula, OLD.chronic_days, OLD.decay_rate, OLD.doubles) THEN
            RETURN NULL;
        END IF;
    END IF;
    IF changed = 0 THEN
        INSERT INTO {here}.acwr_backfills DEFAULT VALUES RETURNING id INTO backfill;
        UPDATE {here}.acwr_backfills
        SET plan_job_id = {schema}.insert_worker_job('acwr_backfill', 'backfill', 1, jsonb_build_object('backfill_id', backfill, 'chunk', 0))
        WHERE id = backfill;
        RETURN NULL;
    END IF;
    SELECT greatest(min(date), '1900-01-01'), least(max(date), '2999-12-31') INTO first_date, last_date
    FROM {here}.activities AS a WHERE a.user_id = changed
    HAVING count(*) > 0;
    IF first_date <= last_date THEN
        PERFORM {schema}.enqueue_acwr_recalc(changed, first_date, last_date);
    END IF;
    RETURN NULL;
END $$;

-- acwr_series(user, from, to, rounding) as before, except that with ignore-later a
-- likely double weighs nothing, and that quality has one word more:
--   likely_double  an activity of the day is likely the same training as an earlier one
-- What weighs nothing is no reason for another word.
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
        SELECT least(first_day, min(a.date)) INTO first_day FROM {here}.activities AS a WHERE a.user_id = athlete;
    END IF;
    SELECT min(a.date) INTO first_activity FROM {here}.activities AS a WHERE a.user_id = athlete AND a.type IS DISTINCT FROM 'rest';
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
