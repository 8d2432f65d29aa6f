-- acwr_series(user, from, to) are the seven values of every calendar day, also
-- of days without an activity, so that a chart falls over rest days. They equal
-- those that the worker stores bit for bit: the same operations in the same
-- order, oldest day first. rounding is the worker's acwr.rounding.

-- e^(-k) by its Taylor series in Horner's form, as the worker computes it.
CREATE FUNCTION acwr_decay_factor(k double precision) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r double precision := 1;
BEGIN
    FOR n IN REVERSE 20..1 LOOP
        r := 1 - k / n * r;
    END LOOP;
    RETURN r;
END $$;

-- Half to even on the exact value of the binary double, as Python rounds. The
-- cast to numeric keeps 15 digits only, so the value is taken apart into pieces
-- of 40 bits.
CREATE FUNCTION acwr_round(x double precision, digits integer) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    rest double precision := abs(x) - floor(abs(x));
    unit numeric := 1;
    exact numeric;
    scaled numeric;
    rounded numeric;
BEGIN
    IF x = 'NaN' OR abs(x) >= 9007199254740992 THEN
        RETURN x;
    END IF;
    exact := floor(abs(x))::bigint;
    FOR piece IN 1..3 LOOP
        rest := rest * 1099511627776;                                -- 2^40
        unit := unit * 0.0000000000009094947017729282379150390625;   -- 2^-40
        exact := exact + floor(rest)::bigint * unit;
        rest := rest - floor(rest);
    END LOOP;
    scaled := exact * 10::numeric ^ digits;
    rounded := floor(scaled);
    IF scaled - rounded > 0.5 OR (scaled - rounded = 0.5 AND rounded % 2 = 1) THEN
        rounded := rounded + 1;
    END IF;
    RETURN sign(x) * (rounded / 10::numeric ^ digits)::double precision;
END $$;

-- To real, where a value too small for it is 0 and not an error: the limit is
-- half the smallest real.
CREATE FUNCTION acwr_real(x double precision) RETURNS real
LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT CASE WHEN abs(x) <= 7.006492321624085e-46 THEN 0 ELSE x::real END $$;

CREATE FUNCTION acwr_ratio(acute double precision, chronic double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT CASE WHEN chronic = 0 THEN 0 ELSE acute / chronic END $$;

CREATE FUNCTION acwr_divergence(external double precision, internal double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT CASE WHEN external = 0 AND internal = 0 THEN 0 ELSE (external - internal) / ((external + internal) / 2) END $$;

-- Sums of weights that fall with age, for frames that begin with the oldest day.
CREATE FUNCTION acwr_horner(state double precision, load double precision, factor double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$ SELECT state * factor + load $$;
CREATE AGGREGATE acwr_decaying_sum(load double precision, factor double precision) (
    SFUNC = acwr_horner, STYPE = double precision, INITCOND = '0');

-- The exponentially weighted average from the first load on, NULL before it.
CREATE FUNCTION acwr_weigh(state double precision, load double precision, lambda double precision) RETURNS double precision
LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN state IS NULL THEN nullif(load, 0) ELSE lambda * load + (1 - lambda) * state END $$;
CREATE AGGREGATE acwr_weighted_average(load double precision, lambda double precision) (
    SFUNC = acwr_weigh, STYPE = double precision);

CREATE FUNCTION acwr_series(user_id integer, from_date date, to_date date, rounding text DEFAULT 'none')
RETURNS TABLE (date date, total_load_miles double precision, trimp double precision,
               seven_day_avg_load real, twentyeight_day_avg_load real, seven_day_avg_trimp real, twentyeight_day_avg_trimp real,
               acute_chronic_ratio real, trimp_acute_chronic_ratio real, normalized_divergence real)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    athlete CONSTANT integer := $1;
    chosen {here}.acwr_settings;
    first_day date;
BEGIN
    IF to_date < from_date OR to_date - from_date > 150000 THEN
        RAISE EXCEPTION 'to_date must lie at most 150000 days after from_date (%), got %', from_date, to_date USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF rounding NOT IN ('none', 'app') THEN
        RAISE EXCEPTION 'rounding must be none or app, got %', rounding USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT s.* INTO chosen FROM {here}.acwr_settings AS s WHERE s.user_id IN (0, athlete) ORDER BY s.user_id DESC LIMIT 1;
    first_day := from_date - (chosen.chronic_days - 1);
    IF chosen.formula = 'ewma' THEN
        SELECT least(first_day, min(a.date)) INTO first_day FROM {here}.activities AS a WHERE a.user_id = athlete;
    END IF;
    RETURN QUERY EXECUTE format($query$
        WITH days AS (
            SELECT d::date AS day, coalesce(sums.load, 0) AS load, coalesce(sums.trimp, 0) AS trimp
            FROM generate_series($2::timestamp, $4::timestamp, interval '1 day') AS d
            LEFT JOIN (
                SELECT a.date, sum(a.total_load_miles::float8) AS load, sum(a.trimp::float8) AS trimp
                FROM {here}.activities AS a WHERE a.user_id = $1 AND a.date BETWEEN $2 AND $4
                GROUP BY a.date
            ) AS sums ON sums.date = d::date
        ), means AS (
            SELECT day, load, trimp, %1$s AS acute_load, %2$s AS chronic_load, %3$s AS acute_trimp, %4$s AS chronic_trimp
            FROM days
            WINDOW week AS (ORDER BY day ROWS 6 PRECEDING), history AS (ORDER BY day ROWS UNBOUNDED PRECEDING),
                   month AS (ORDER BY day ROWS %5$s PRECEDING), before AS (ORDER BY day ROWS BETWEEN %5$s PRECEDING AND 7 PRECEDING)
        ), stored AS (
            SELECT day, load, trimp, %6$s
            FROM means WHERE day >= $3
        ), ratios AS (
            SELECT *, %7$s AS external, %8$s AS internal FROM stored
        ), diverging AS (
            SELECT *, %9$s AS divergence FROM ratios
        )
        SELECT day, load, trimp, {here}.acwr_real(acute_load), {here}.acwr_real(chronic_load), {here}.acwr_real(acute_trimp), {here}.acwr_real(chronic_trimp),
               {here}.acwr_real(external), {here}.acwr_real(internal), {here}.acwr_real(divergence)
        FROM diverging ORDER BY day $query$,
        {here}.acwr_mean_expression(chosen, 'load', true), {here}.acwr_mean_expression(chosen, 'load', false),
        {here}.acwr_mean_expression(chosen, 'trimp', true), {here}.acwr_mean_expression(chosen, 'trimp', false),
        chosen.chronic_days - 1,
        CASE rounding WHEN 'none' THEN 'acute_load, chronic_load, acute_trimp, chronic_trimp'
            ELSE '{here}.acwr_round(acute_load, 2) AS acute_load, {here}.acwr_round(chronic_load, 2) AS chronic_load,
                  {here}.acwr_round(acute_trimp, 2) AS acute_trimp, {here}.acwr_round(chronic_trimp, 2) AS chronic_trimp' END,
        CASE rounding WHEN 'none' THEN '{here}.acwr_ratio(acute_load, chronic_load)' ELSE '{here}.acwr_round({here}.acwr_ratio(acute_load, chronic_load), 2)' END,
        CASE rounding WHEN 'none' THEN '{here}.acwr_ratio(acute_trimp, chronic_trimp)' ELSE '{here}.acwr_round({here}.acwr_ratio(acute_trimp, chronic_trimp), 2)' END,
        CASE rounding WHEN 'none' THEN '{here}.acwr_divergence(external, internal)' ELSE '{here}.acwr_round({here}.acwr_divergence(external, internal), 3)' END)
    USING athlete, first_day, from_date, to_date;
END $$;

-- The expression, over the windows of acwr_series, of an acute or chronic mean.
CREATE FUNCTION acwr_mean_expression(s acwr_settings, load text, acute boolean) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN s.formula = 'ewma' THEN
            format('coalesce({here}.acwr_weighted_average(%1$s, 2 / %2$s::float8) OVER history, 0)', load, CASE WHEN acute THEN 8 ELSE s.chronic_days + 1 END)
        WHEN acute THEN format('sum(%1$s) OVER week / 7', load)
        WHEN s.formula = 'uncoupled' THEN format('coalesce(sum(%1$s) OVER before, 0) / %2$s', load, s.chronic_days - 7)
        WHEN s.formula = 'decay' THEN
            format('{here}.acwr_decaying_sum(%1$s, %2$L::float8) OVER month / (SELECT {here}.acwr_decaying_sum(1, %2$L::float8) FROM generate_series(1, %3$s))',
                load, {here}.acwr_decay_factor(s.decay_rate)::text, s.chronic_days)
        ELSE format('sum(%1$s) OVER month / %2$s', load, s.chronic_days)
    END $$;
