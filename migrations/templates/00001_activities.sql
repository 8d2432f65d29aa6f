-- The application's table, with the columns that the worker reads and writes.
-- A database that the application created has it already, with more columns:
-- then only the missing ones are added, in one ALTER TABLE without a rewrite
-- (nullable, no default). Nothing is dropped, retyped or rewritten.

-- +goose Up
-- +goose StatementBegin
DO $$
DECLARE
    missing text;
BEGIN
    CREATE TABLE IF NOT EXISTS activities (
        activity_id bigint PRIMARY KEY,
        user_id     integer NOT NULL,
        date        date NOT NULL
    );

    SELECT string_agg(format('ADD COLUMN %I %s', wanted.name, wanted.type), ', ' ORDER BY wanted.position)
    INTO missing
    FROM (VALUES
        (1, 'name', 'text'), (2, 'type', 'text'), (3, 'notes', 'text'),
        (4, 'distance_miles', 'real'), (5, 'elevation_gain_feet', 'real'),
        (6, 'elevation_load_miles', 'real'), (7, 'total_load_miles', 'real'),
        (8, 'avg_heart_rate', 'real'), (9, 'max_heart_rate', 'real'),
        (10, 'duration_minutes', 'real'), (11, 'trimp', 'real'),
        (12, 'time_in_zone1', 'real'), (13, 'time_in_zone2', 'real'), (14, 'time_in_zone3', 'real'),
        (15, 'time_in_zone4', 'real'), (16, 'time_in_zone5', 'real'),
        (17, 'seven_day_avg_load', 'real'), (18, 'twentyeight_day_avg_load', 'real'),
        (19, 'seven_day_avg_trimp', 'real'), (20, 'twentyeight_day_avg_trimp', 'real'),
        (21, 'acute_chronic_ratio', 'real'), (22, 'trimp_acute_chronic_ratio', 'real'),
        (23, 'normalized_divergence', 'real'),
        (24, 'weight_lbs', 'real'), (25, 'perceived_effort', 'integer'), (26, 'feeling_score', 'integer'),
        (27, 'sport_type', 'varchar'),
        (28, 'average_speed_mph', 'numeric'), (29, 'cycling_equivalent_miles', 'numeric'),
        (30, 'cycling_elevation_factor', 'numeric'),
        (31, 'swimming_equivalent_miles', 'real'), (32, 'strength_equivalent_miles', 'real'),
        (33, 'rowing_equivalent_miles', 'real'), (34, 'backcountry_skiing_equivalent_miles', 'real'),
        (35, 'strength_rpe', 'integer'), (36, 'trimp_calculation_method', 'varchar(20)'),
        (37, 'hr_stream_sample_count', 'integer'), (38, 'trimp_processed_at', 'timestamp'),
        (39, 'start_time', 'text'), (40, 'device_name', 'text'), (41, 'avg_temp_f', 'real'),
        (42, 'trimp_dynamic', 'real'),
        -- The job whose version of the activity this row holds: an older job
        -- that runs later finds a higher number here and leaves the row alone.
        (43, 'ingest_job_id', 'bigint')
    ) AS wanted (position, name, type)
    WHERE NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'activities'::regclass AND attname = wanted.name AND NOT attisdropped
    );

    IF missing IS NOT NULL THEN
        EXECUTE 'ALTER TABLE activities ' || missing;
    END IF;
END
$$;
-- +goose StatementEnd
