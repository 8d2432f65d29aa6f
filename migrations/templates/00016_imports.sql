-- A thousand activities of which one has a name that was cut inside an emoji: a
-- cast to jsonb refuses them all, before any function sees them, and does not say
-- which. A literal and a parameter without a type take the function below, which
-- casts itself and then names them; what is jsonb already takes the other.

-- What jsonb does not take of the texts in a JSON array of activities, NULL when
-- that is not what is wrong with it. For the function below.
CREATE OR REPLACE FUNCTION {schema}.refused_texts(activities text)
RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    element record;
    field text[];
    faults text[] := '{}';
BEGIN
    -- The type json leaves escapes as they are, and so does taking its elements.
    FOR element IN
        SELECT value::text AS activity, ordinality - 1 AS place, substring(value::text FROM '"activity_id"\s*:\s*([0-9]{1,19})') AS id
        FROM json_array_elements(activities::json) WITH ORDINALITY
    LOOP
        BEGIN
            PERFORM element.activity::jsonb;
            CONTINUE;
        EXCEPTION WHEN invalid_text_representation OR untranslatable_character THEN
            NULL;
        END;
        FOR field IN SELECT regexp_matches(element.activity, '"((?:[^"\\]|\\.)*)"\s*:\s*("(?:[^"\\]|\\.)*")', 'g') LOOP
            BEGIN
                PERFORM field[2]::jsonb;
            EXCEPTION WHEN invalid_text_representation OR untranslatable_character THEN
                faults := faults || format('activities[%s] (activity_id %s): %s: holds %s, got %s', element.place, coalesce(element.id, 'unknown'), field[1],
                    CASE SQLSTATE WHEN '22P05' THEN 'a character that this database cannot store' ELSE 'half of a character, as a text cut inside an emoji does' END,
                    CASE WHEN length(field[2]) > 60 THEN left(field[2], 20) || '...' || right(field[2], 40) ELSE field[2] END);
            END;
        END LOOP;
        EXIT WHEN cardinality(faults) >= 100;
    END LOOP;
    RETURN nullif(array_to_string(faults, E'\n'), '');
EXCEPTION WHEN invalid_text_representation OR invalid_parameter_value THEN
    RETURN NULL; -- no JSON, or no array
END
$$;

CREATE OR REPLACE FUNCTION {schema}.enqueue_activity_ingest(activities text, priority integer DEFAULT 1)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parsed jsonb;
    faults text;
BEGIN
    BEGIN
        parsed := activities::jsonb;
    EXCEPTION WHEN invalid_text_representation OR untranslatable_character THEN
        faults := {schema}.refused_texts(activities);
        IF faults IS NULL THEN
            RAISE;
        END IF;
        RAISE invalid_parameter_value USING MESSAGE = faults;
    END;
    RETURN {schema}.enqueue_activity_ingest(parsed, priority);
END
$$;

REVOKE ALL ON FUNCTION {schema}.refused_texts(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.enqueue_activity_ingest(text, integer) FROM PUBLIC;

-- Who may call the one may call the other.
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
        EXECUTE format('GRANT EXECUTE ON FUNCTION %I.enqueue_activity_ingest(text, integer) TO %s', {schema_literal}, grantee);
    END LOOP;
END
$$;

-- Of an activity whose newest versions are partial, as those of a bulk export are:
-- these, and the version below them, as long as an older one may still be worked
-- and the row alone does not tell.
ALTER TABLE ingest_versions ADD COLUMN IF NOT EXISTS layers jsonb;

-- Whether the day of a row was computed from UTC with the athlete's home zone: then
-- it may be moved by another source that knows no better. NULL for no.
ALTER TABLE activities ADD COLUMN IF NOT EXISTS ingest_day_from_utc boolean;

-- Whether a row holds partial versions alone: an older whole one goes below them.
ALTER TABLE activities ADD COLUMN IF NOT EXISTS ingest_alone boolean;
