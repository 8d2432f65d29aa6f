-- Change capture: a statement of any program that changes the inputs of an ACWR
-- enqueues the recalculation in the same transaction, in one job per statement.
-- The worker's transactions are skipped, because they see to the results
-- themselves; they are marked by the setting trainingmonkey.worker.

-- Enqueues the recalculation of dates. Dates of a user that are close together
-- form one range. Each element of the arrays is a user and a date. Pairs that no
-- job can name (without a user, or with dates beyond the limits) are skipped.
CREATE OR REPLACE FUNCTION {schema}.enqueue_changed_dates(users integer[], dates date[])
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job record;
BEGIN
    FOR job IN
        WITH touched AS (
            SELECT DISTINCT user_id, date FROM unnest(users, dates) AS t (user_id, date)
            WHERE user_id > 0 AND date BETWEEN make_date(1900, 1, 1) AND make_date(2999, 12, 31)
        ), marked AS (
            SELECT user_id, date, (date - lag(date) OVER (PARTITION BY user_id ORDER BY date) > 28) IS NOT FALSE AS begins
            FROM touched
        ), numbered AS (
            SELECT user_id, date, count(*) FILTER (WHERE begins) OVER (ORDER BY user_id, date) AS number
            FROM marked
        ), ranges AS (
            SELECT number, min(user_id) AS user_id, to_char(min(date), 'YYYY-MM-DD') AS first, to_char(max(date), 'YYYY-MM-DD') AS last
            FROM numbered GROUP BY number
        )
        SELECT count(*) > 25 AS bulk, jsonb_agg(jsonb_build_object('user_id', user_id, 'from', first, 'to', last) ORDER BY number) AS ranges
        FROM ranges GROUP BY (number - 1) / 10000 ORDER BY (number - 1) / 10000
    LOOP
        PERFORM {schema}.insert_worker_job('acwr_recalc',
            CASE WHEN job.bulk THEN 'recalc_bulk' ELSE 'recalc' END, CASE WHEN job.bulk THEN 3 ELSE 1 END,
            jsonb_build_object('ranges', job.ranges));
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION {schema}.enqueue_changed_dates(integer[], date[]) FROM PUBLIC;

-- A new row needs results even if its load is 0.
CREATE OR REPLACE FUNCTION {schema}.capture_added() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('trainingmonkey.worker', true) IS DISTINCT FROM 'on' THEN
        PERFORM {schema}.enqueue_changed_dates(array_agg(user_id), array_agg(date)) FROM added HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END
$$;

-- A removed row that counted as 0 changes no results, unless its athlete ignores
-- likely doubles: another row may have counted as 0 because it resembled this one.
CREATE OR REPLACE FUNCTION {schema}.capture_removed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('trainingmonkey.worker', true) IS DISTINCT FROM 'on' THEN
        PERFORM {schema}.enqueue_changed_dates(array_agg(user_id), array_agg(date)) FROM removed
        WHERE coalesce(total_load_miles, 0) <> 0 OR coalesce(trimp, 0) <> 0
            OR (SELECT s.doubles = 'ignore-later' FROM {here}.acwr_settings AS s WHERE s.user_id IN (0, removed.user_id) ORDER BY s.user_id DESC LIMIT 1)
        HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END
$$;

-- Enqueues both the previous and the current date of a row. Columns that only
-- determine doubles matter if the athlete ignores these, which is checked last.
CREATE OR REPLACE FUNCTION {schema}.capture_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('trainingmonkey.worker', true) IS DISTINCT FROM 'on' THEN
        PERFORM {schema}.enqueue_changed_dates(array_agg(place.user_id), array_agg(place.date))
        FROM removed AS r FULL JOIN added AS a USING (activity_id),
            LATERAL (VALUES (r.user_id, r.date), (a.user_id, a.date)) AS place (user_id, date)
        WHERE (r.user_id, r.date, coalesce(r.total_load_miles, 0), coalesce(r.trimp, 0))
            IS DISTINCT FROM (a.user_id, a.date, coalesce(a.total_load_miles, 0), coalesce(a.trimp, 0))
            OR (r.type, r.sport_type, r.start_time, r.distance_miles, r.duration_minutes)
            IS DISTINCT FROM (a.type, a.sport_type, a.start_time, a.distance_miles, a.duration_minutes)
            AND (SELECT s.doubles = 'ignore-later' FROM {here}.acwr_settings AS s WHERE s.user_id IN (0, place.user_id) ORDER BY s.user_id DESC LIMIT 1)
        HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER acwr_capture_added AFTER INSERT ON {here}.activities
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION {schema}.capture_added();
CREATE OR REPLACE TRIGGER acwr_capture_changed AFTER UPDATE ON {here}.activities
REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION {schema}.capture_changed();
CREATE OR REPLACE TRIGGER acwr_capture_removed AFTER DELETE ON {here}.activities
REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION {schema}.capture_removed();
