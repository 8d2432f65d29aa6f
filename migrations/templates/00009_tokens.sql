-- The tokens with which the application reads its users' activities at the
-- provider, and the log of what was done to them. When the application created
-- the tables already, only missing columns are added, without a rewrite.
DO $$
DECLARE
    missing text;
    expiry text;
    new_log boolean;
BEGIN
    CREATE TABLE IF NOT EXISTS user_tokens (
        user_id integer PRIMARY KEY
    ) WITH (fillfactor = 80);
    new_log := to_regclass('token_audit_log') IS NULL;
    CREATE TABLE IF NOT EXISTS token_audit_log (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        user_id integer NOT NULL
    );

    FOR missing IN
        SELECT format('ALTER TABLE %I ', wanted.relation) || string_agg(format('ADD COLUMN %I %s', wanted.name, wanted.type), ', ' ORDER BY wanted.position)
        FROM (VALUES
            (1, 'user_tokens', 'access_token', 'text'), (2, 'user_tokens', 'refresh_token', 'text'),
            (3, 'user_tokens', 'expires_at', 'bigint'),
            (4, 'user_tokens', 'saved_at', 'timestamptz'),
            -- Who is refreshing, until when nobody else may, and the hash of the
            -- refresh token that was shown to the provider. A hash of the stored
            -- token that nobody's time covers says that the answer got lost.
            (5, 'user_tokens', 'refresh_by', 'text'), (6, 'user_tokens', 'refresh_until', 'timestamptz'),
            (7, 'user_tokens', 'refresh_hash', 'text'),
            -- Since when, and why, only the user can help, by authorizing again.
            (8, 'user_tokens', 'reauthorize_since', 'timestamptz'), (9, 'user_tokens', 'reauthorize_reason', 'text'),
            (1, 'token_audit_log', 'operation', 'varchar(50)'), (2, 'token_audit_log', 'success', 'boolean'),
            (3, 'token_audit_log', 'timestamp', 'timestamptz'), (4, 'token_audit_log', 'ip_address', 'varchar(45)'),
            (5, 'token_audit_log', 'user_agent', 'text'), (6, 'token_audit_log', 'details', 'json')
        ) AS wanted (position, relation, name, type)
        WHERE NOT EXISTS (
            SELECT FROM pg_attribute
            WHERE attrelid = wanted.relation::regclass AND attname = wanted.name AND NOT attisdropped
        )
        GROUP BY wanted.relation
    LOOP
        EXECUTE missing;
    END LOOP;

    IF new_log THEN
        CREATE INDEX token_audit_log_user_id_timestamp_idx ON token_audit_log (user_id, timestamp);
    END IF;

    -- Everybody who reads or writes expires_at goes through these two, which know
    -- what the column is: seconds since 1970 or, where the application made it
    -- so, a timestamp.
    SELECT format_type(atttypid, NULL) INTO expiry
    FROM pg_attribute WHERE attrelid = 'user_tokens'::regclass AND attname = 'expires_at';
    EXECUTE format('CREATE FUNCTION {schema}.token_expiry_stored(seconds bigint) RETURNS %s LANGUAGE sql IMMUTABLE PARALLEL SAFE AS %L', expiry,
        CASE expiry
            WHEN 'timestamp with time zone' THEN 'SELECT to_timestamp(seconds)'
            WHEN 'timestamp without time zone' THEN 'SELECT timestamp ''epoch'' + seconds * interval ''1 second'''
            ELSE format('SELECT seconds::%s', expiry)
        END);
    EXECUTE format('CREATE FUNCTION {schema}.token_expiry_seconds(stored %s) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS %L', expiry,
        CASE WHEN expiry LIKE 'timestamp%' THEN 'SELECT floor(extract(epoch FROM stored))::bigint' ELSE 'SELECT stored::bigint' END);
END
$$;

-- The one row by which all processes keep the provider's limits, which count
-- quarters of an hour and days of UTC from their beginnings.
CREATE TABLE token_provider (
    only_row     boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    quarter      timestamptz NOT NULL DEFAULT 'epoch',
    quarter_used integer NOT NULL DEFAULT 0,
    day          timestamptz NOT NULL DEFAULT 'epoch',
    day_used     integer NOT NULL DEFAULT 0,
    paused_until timestamptz NOT NULL DEFAULT 'epoch'      -- the provider said so
) WITH (fillfactor = 50);
INSERT INTO token_provider DEFAULT VALUES;

-- How the application stores what a user's authorization gave it: tokens,
-- encrypted or not, and audit row at once. It ends whatever refresh of older
-- tokens is under way and whatever was wrong with them.
CREATE FUNCTION {schema}.save_user_token(user_id integer, access_token text, refresh_token text, expires_at bigint,
    ip_address text DEFAULT NULL, user_agent text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    faults text := concat_ws('; ',
        CASE WHEN user_id > 0 THEN NULL ELSE format('user_id: must be a positive integer, got %s', coalesce(user_id::text, 'nothing')) END,
        CASE WHEN access_token <> '' THEN NULL ELSE 'access_token: is required' END,
        CASE WHEN refresh_token <> '' THEN NULL ELSE 'refresh_token: is required' END,
        CASE WHEN expires_at BETWEEN 1 AND 32503680000 THEN NULL
            ELSE format('expires_at: must be seconds since 1970, before the year 3000, got %s', coalesce(expires_at::text, 'nothing')) END,
        CASE WHEN length(ip_address) > 45 THEN 'ip_address: is longer than 45 characters' END);
BEGIN
    IF faults <> '' THEN
        RAISE invalid_parameter_value USING MESSAGE = faults;
    END IF;
    INSERT INTO {here}.user_tokens AS t (user_id, access_token, refresh_token, expires_at, saved_at)
    VALUES (save_user_token.user_id, save_user_token.access_token, save_user_token.refresh_token,
        {schema}.token_expiry_stored(save_user_token.expires_at), clock_timestamp())
    ON CONFLICT (user_id) DO UPDATE
    SET access_token = excluded.access_token, refresh_token = excluded.refresh_token, expires_at = excluded.expires_at,
        saved_at = excluded.saved_at, refresh_by = NULL, refresh_until = NULL, refresh_hash = NULL,
        reauthorize_since = NULL, reauthorize_reason = NULL;
    INSERT INTO {here}.token_audit_log (user_id, operation, success, timestamp, ip_address, user_agent, details)
    VALUES (save_user_token.user_id, 'save', true, clock_timestamp(), save_user_token.ip_address, save_user_token.user_agent, '{}');
END
$$;

-- How the application reads tokens, as they are stored. Users who have none have
-- no row.
CREATE FUNCTION {schema}.load_user_tokens(user_ids integer[])
RETURNS TABLE (user_id integer, access_token text, refresh_token text, expires_at bigint, needs_reauthorization boolean)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT t.user_id::integer, t.access_token::text, t.refresh_token::text, {schema}.token_expiry_seconds(t.expires_at), t.reauthorize_since IS NOT NULL
    FROM {here}.user_tokens AS t
    WHERE t.user_id = ANY (user_ids)
    ORDER BY t.user_id
$$;

REVOKE ALL ON FUNCTION {schema}.save_user_token(integer, text, text, bigint, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.load_user_tokens(integer[]) FROM PUBLIC;
