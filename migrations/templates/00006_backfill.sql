-- Backfills of the ACWR columns. A backfill is done when it is planned and no
-- chunk is pending: that is never stored, so no two chunks have to agree on
-- which of them was the last.
CREATE TABLE acwr_backfills (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    users           integer[],                           -- ascending; NULL: everyone
    from_date       date,                                -- NULL: from the first activity
    to_date         date,                                -- NULL: to the last
    state           text NOT NULL DEFAULT 'running'      -- what the operator wants
                    CHECK (state IN ('running', 'paused', 'cancelled')),
    planned         boolean NOT NULL DEFAULT false,      -- every user is in a chunk
    planned_through integer NOT NULL DEFAULT 0,          -- users up to this one are
    plan_job_id     bigint,
    created_at      timestamptz NOT NULL DEFAULT now(),
    ended_at        timestamptz                          -- when it was cancelled
);

-- A chunk is the users of one transaction. It survives its job, which River
-- deletes some time after it is completed.
CREATE TABLE acwr_backfill_chunks (
    backfill_id  bigint NOT NULL REFERENCES acwr_backfills (id) ON DELETE CASCADE,
    number       integer NOT NULL CHECK (number > 0),
    users        integer[] NOT NULL,                     -- ascending
    rows         bigint NOT NULL,                        -- when it was planned
    state        text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'done', 'failed')),
    rows_changed bigint NOT NULL DEFAULT 0,
    error        text,
    job_id       bigint,                                 -- the newest job for it
    finished_at  timestamptz,
    PRIMARY KEY (backfill_id, number)
);
CREATE INDEX acwr_backfill_chunks_unfinished_idx ON acwr_backfill_chunks (backfill_id) WHERE state <> 'done';
