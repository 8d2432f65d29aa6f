-- What all worker processes did, for a day: at most a row for each kind of job and
-- ten seconds, by the server's clock. internal/throughput reads and writes it, and
-- workers delete what is older.
CREATE TABLE IF NOT EXISTS {schema}.worker_throughput (
    bucket    timestamptz NOT NULL,  -- when its ten seconds began
    kind      text NOT NULL,
    committed integer NOT NULL,      -- jobs
    failed    integer NOT NULL,      -- attempts that ended with an error of the job's own
    latencies integer[] NOT NULL,    -- of the committed, by the time since their insertion: [1] less than 1 ms, [n] at least 2^(n-2) ms and less than twice that
    PRIMARY KEY (bucket, kind)
) WITH (fillfactor = 50); -- each process adds to the same rows: their updates stay HOT
