-- +goose Up

-- One row per worker process, beaten every few seconds by the database's clock.
-- The jobs of a process that stopped beating go back to the queue.
CREATE TABLE worker_processes (
    client_id  text PRIMARY KEY,                      -- as in river_job.attempted_by
    started_at timestamptz NOT NULL DEFAULT now(),
    beat_at    timestamptz NOT NULL DEFAULT now()     -- -infinity once it said goodbye
) WITH (fillfactor = 50);                             -- beats stay HOT
