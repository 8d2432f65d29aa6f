-- acwr_series(user, from, to, rounding) as before, except for two things.
--
-- With the rounding app it is digit for digit what the application computes: a
-- load is the shortest decimal that names its real, and a window's loads are
-- added one by one in the order of date and id. Without rounding the sums are
-- exact, and their order does not matter.
--
-- quality has a word for each reason not to take a day's values for facts:
--   short_history  the window begins before the athlete's first activity
--   no_heart_rate  an activity of the day counts as a TRIMP of 0, because it has no heart rate
--   implausible    an activity of the day has a value beyond what its sport allows
--   future         the day lies after today where the athlete lives
--
-- A result with another column is another function, which no view may depend on.
DO $$
DECLARE
    views text;
BEGIN
    SELECT string_agg(DISTINCT r.ev_class::regclass::text, ', ') INTO views
    FROM pg_depend AS d JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = to_regprocedure('acwr_series(integer, date, date, text)');
    IF views IS NOT NULL THEN
        RAISE EXCEPTION 'acwr_series gets another column, and is used by the views %: drop them, migrate, and make them again', views
            USING ERRCODE = 'dependent_objects_still_exist';
    END IF;
END $$;
DROP FUNCTION IF EXISTS acwr_series(integer, date, date, text);
DROP FUNCTION IF EXISTS acwr_mean_expression(acwr_settings, text, boolean);

-- extra_float_digits has text show every digit of a real and of a double. The
-- loads of all activities are in one array for each measure, and until_… are how
-- many of them lie before the day after, before its week, and before its month.
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
        WITH counted AS MATERIALIZED (
            SELECT a.date, a.activity_id, coalesce(%1$s, 0) AS load, coalesce(%2$s, 0) AS trimp,
                   coalesce(a.trimp, 0) = 0 AND coalesce(a.avg_heart_rate, 0) = 0 AND (a.total_load_miles > 0 OR a.duration_minutes > 0) AS no_heart_rate,
                   {here}.acwr_implausible(a.sport_type, a.distance_miles, a.elevation_gain_feet, a.duration_minutes, a.total_load_miles) AS implausible
            FROM {here}.activities AS a WHERE a.user_id = $1 AND a.date BETWEEN $2 AND $4
        ), lists AS (
            SELECT array_agg(load ORDER BY date, activity_id) AS load, array_agg(trimp ORDER BY date, activity_id) AS trimp FROM counted
        ), days AS (
            SELECT d::date AS day, coalesce(sums.load, 0) AS load, coalesce(sums.trimp, 0) AS trimp,
                   array_remove(ARRAY[
                       CASE WHEN d::date < $5 + %3$s - 1 THEN 'short_history' END,
                       CASE WHEN sums.no_heart_rate THEN 'no_heart_rate' END,
                       CASE WHEN sums.implausible THEN 'implausible' END,
                       CASE WHEN d::date > $6 THEN 'future' END], NULL) AS quality,
                   (sum(sums.activities) OVER (ORDER BY d))::integer AS until_day,
                   (sum(sums.activities) OVER (ORDER BY d ROWS BETWEEN UNBOUNDED PRECEDING AND 7 PRECEDING))::integer AS until_week,
                   (sum(sums.activities) OVER (ORDER BY d ROWS BETWEEN UNBOUNDED PRECEDING AND %3$s PRECEDING))::integer AS until_month
            FROM generate_series($2::timestamp, $4::timestamp, interval '1 day') AS d
            LEFT JOIN (
                SELECT date, sum(load ORDER BY activity_id) AS load, sum(trimp ORDER BY activity_id) AS trimp, count(*) AS activities,
                       bool_or(no_heart_rate) AS no_heart_rate, bool_or(implausible) AS implausible
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
    USING athlete, first_day, from_date, to_date, coalesce(first_activity, 'infinity'), {here}.acwr_today(athlete);
END $$;

-- The expression, over the days and the windows of acwr_series, of an acute or
-- chronic mean. The application's sums go through the activities of a window, as
-- sums of the days' sums would differ in the last digit.
CREATE OR REPLACE FUNCTION acwr_mean_expression(s acwr_settings, rounding text, load text, acute boolean) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN s.formula = 'ewma' THEN
            format('coalesce({here}.acwr_weighted_average(%1$s, 2 / %2$s::float8) OVER history, 0)', load, CASE WHEN acute THEN 8 ELSE s.chronic_days + 1 END)
        WHEN s.formula = 'decay' AND NOT acute THEN
            format('{here}.acwr_decaying_sum(%1$s, %2$L::float8) OVER month / (SELECT {here}.acwr_decaying_sum(1, %2$L::float8) FROM generate_series(1, %3$s))',
                load, {here}.acwr_decay_factor(s.decay_rate)::text, s.chronic_days)
        WHEN rounding = 'app' THEN
            format('(SELECT coalesce(sum(x), 0) FROM unnest((SELECT %1$s FROM lists)[coalesce(%2$s, 0) + 1:%3$s]) AS x) / %4$s',
                load, CASE WHEN acute THEN 'until_week' ELSE 'until_month' END, CASE WHEN NOT acute AND s.formula = 'uncoupled' THEN 'until_week' ELSE 'until_day' END,
                CASE WHEN acute THEN 7 WHEN s.formula = 'uncoupled' THEN s.chronic_days - 7 ELSE s.chronic_days END)
        WHEN acute THEN format('sum(%1$s) OVER week / 7', load)
        WHEN s.formula = 'uncoupled' THEN format('coalesce(sum(%1$s) OVER before, 0) / %2$s', load, s.chronic_days - 7)
        ELSE format('sum(%1$s) OVER month / %2$s', load, s.chronic_days)
    END $$;

-- The date where an athlete lives, by the time zone of the application's
-- user_settings, and in UTC where none is known that can be used. Strava names
-- zones as "(GMT-08:00) America/Los_Angeles".
CREATE OR REPLACE FUNCTION acwr_today(user_id integer) RETURNS date
LANGUAGE plpgsql STABLE AS $$
DECLARE
    zone text;
BEGIN
    EXECUTE $query$SELECT nullif(regexp_replace(timezone, '^\(.*\) *', ''), '') FROM {here}.user_settings WHERE id = $1$query$ INTO zone USING user_id;
    RETURN (now() AT TIME ZONE coalesce(zone, 'UTC'))::date;
EXCEPTION WHEN undefined_table OR undefined_column OR undefined_function OR insufficient_privilege OR invalid_parameter_value THEN
    RETURN (now() AT TIME ZONE 'UTC')::date;
END $$;

-- acwr_series(user, rounding) runs from the athlete's first activity to today.
-- What is dated later is not hidden by that, and hides nothing: ask for its dates.
CREATE OR REPLACE FUNCTION acwr_series(user_id integer, rounding text DEFAULT 'none')
RETURNS TABLE (date date, total_load_miles double precision, trimp double precision,
               seven_day_avg_load real, twentyeight_day_avg_load real, seven_day_avg_trimp real, twentyeight_day_avg_trimp real,
               acute_chronic_ratio real, trimp_acute_chronic_ratio real, normalized_divergence real, quality text[])
LANGUAGE sql STABLE AS $$
    SELECT s.*
    FROM (SELECT greatest(min(a.date), {here}.acwr_today($1) - 150000) AS first, {here}.acwr_today($1) AS today
          FROM {here}.activities AS a WHERE a.user_id = $1 HAVING min(a.date) <= {here}.acwr_today($1)) AS bounds
    CROSS JOIN LATERAL {here}.acwr_series($1, bounds.first, bounds.today, $2) AS s
$$;

-- Whether an activity has a value beyond what its sport allows, by the bounds of
-- internal/trainingload, where their sources are: miles an hour in less than an
-- hour and in more, a day of the latter, feet climbed in an hour, six days, and
-- the load of a day's running and climbing. An expression without FROM is
-- inlined.
CREATE OR REPLACE FUNCTION acwr_implausible(sport text, miles double precision, feet double precision, minutes double precision, load double precision) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(minutes > 8640, false) OR coalesce(load > 550, false)
        OR coalesce(miles > 24 * CASE sport WHEN 'running' THEN 13.3::float8 WHEN 'cycling' THEN 35.3 WHEN 'swimming' THEN 3.9 WHEN 'rowing' THEN 14.1 ELSE 69.5 END, false)
        OR coalesce(minutes > 0 AND miles * 60 / minutes > CASE WHEN minutes < 60
            THEN CASE sport WHEN 'running' THEN 23.4::float8 WHEN 'cycling' THEN 50.6 WHEN 'swimming' THEN 5.7 WHEN 'rowing' THEN 14.1 ELSE 69.5 END
            ELSE CASE sport WHEN 'running' THEN 13.3::float8 WHEN 'cycling' THEN 35.3 WHEN 'swimming' THEN 3.9 WHEN 'rowing' THEN 14.1 ELSE 69.5 END END, false)
        OR coalesce(feet * 60 / greatest(CASE WHEN minutes > 0 THEN minutes ELSE 1440 END, 30) > 7200, false)
$$;
