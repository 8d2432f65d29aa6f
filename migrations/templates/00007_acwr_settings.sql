-- The formula of each athlete. The row of user 0 is the default: everyone's who
-- has no row. Impossible settings are refused here, whoever writes them.
CREATE TABLE acwr_settings (
    user_id      integer PRIMARY KEY CONSTRAINT user_id_is_not_negative CHECK (user_id >= 0),
    formula      text NOT NULL DEFAULT 'standard'
                 CONSTRAINT formula_is_known CHECK (formula IN ('standard', 'uncoupled', 'ewma', 'decay')),
    chronic_days integer NOT NULL DEFAULT 28
                 CONSTRAINT chronic_days_are_28_to_90 CHECK (chronic_days BETWEEN 28 AND 90),
    decay_rate   double precision NOT NULL DEFAULT 0.05
                 CONSTRAINT decay_rate_is_001_to_020 CHECK (decay_rate BETWEEN 0.01 AND 0.20)
);
INSERT INTO acwr_settings (user_id) VALUES (0);

-- A change of settings enqueues what it makes wrong in the same transaction: one
-- user's whole history, or, when the default changed, a backfill of everyone.
CREATE FUNCTION acwr_settings_changed() RETURNS trigger
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
        IF (NEW.formula, NEW.chronic_days, NEW.decay_rate) = (OLD.formula, OLD.chronic_days, OLD.decay_rate) THEN
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
    FROM {here}.activities AS a WHERE a.user_id = changed;
    IF first_date <= last_date THEN
        PERFORM {schema}.enqueue_acwr_recalc(changed, first_date, last_date);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER acwr_settings_changed AFTER INSERT OR UPDATE OR DELETE ON acwr_settings
FOR EACH ROW EXECUTE FUNCTION acwr_settings_changed();
