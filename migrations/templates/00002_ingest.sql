-- +goose Up

-- Activities that were accepted into a job and then found invalid: nothing that
-- was accepted is ever lost.
CREATE TABLE ingest_rejects (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id      bigint NOT NULL,
    user_id     bigint,                             -- as far as the payload says
    activity_id bigint,                             -- as far as the payload says
    payload     jsonb NOT NULL,
    reason      text NOT NULL,
    rejected_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ingest_rejects_rejected_at_idx ON ingest_rejects (rejected_at);

-- The newest version of an activity where its row cannot tell: the row is gone
-- (a delete), or was right already and therefore not written while an older
-- version might still be waiting in the queue. Swept once no job that is older
-- can come any more.
CREATE TABLE ingest_versions (
    user_id     integer NOT NULL,
    activity_id bigint NOT NULL,
    job_id      bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, activity_id)
);
CREATE INDEX ingest_versions_job_id_idx ON ingest_versions (job_id);

-- One row per athlete, locked FOR UPDATE by whoever reads and then writes that
-- athlete's activities. Row locks instead of advisory locks because they live
-- in the rows: thousands in one transaction cost no shared memory.
CREATE TABLE user_locks (
    user_id integer PRIMARY KEY
) WITH (fillfactor = 90);
