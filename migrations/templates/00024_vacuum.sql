-- Every job leaves two dead rows, one when it completes and one when it is deleted, as
-- fast as new ones arrive. By the server's defaults a fifth of the table has to be dead before
-- it is vacuumed; claims and the table's indexes bear it until then. docs/benchmarks.md has the
-- figures. A setting that somebody has made stays. Vacuum is the only work that the lock
-- keeps waiting, and a running one gives way within a second.
SET LOCAL lock_timeout = '10s';
DO $$
DECLARE
    setting record;
BEGIN
    FOR setting IN
        SELECT name, value
        FROM (VALUES
            ('autovacuum_vacuum_scale_factor', 0.01),
            ('autovacuum_vacuum_insert_scale_factor', 0.05),
            ('autovacuum_analyze_scale_factor', 0.02)
        ) AS chosen (name, value)
        WHERE name NOT IN (
            SELECT split_part(made, '=', 1) FROM pg_class, unnest(reloptions) AS made
            WHERE pg_class.oid = '{schema}.river_job'::regclass)
    LOOP
        EXECUTE format('ALTER TABLE {schema}.river_job SET (%I = %s)', setting.name, setting.value);
    END LOOP;
END
$$;
