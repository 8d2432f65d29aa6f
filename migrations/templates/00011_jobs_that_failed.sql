-- River indexes what the args and metadata of every job contain, and a job is
-- written three times on its way: that was nearly half of all WAL and a fifth of
-- the throughput. Who looks into args looks for jobs that failed, so the indexes
-- are of those. They keep River's names: its maintenance and its later
-- migrations go by them.
DROP INDEX IF EXISTS {schema}.river_job_args_index;
CREATE INDEX river_job_args_index ON {schema}.river_job USING gin (args) WHERE state IN ('retryable', 'cancelled', 'discarded');
DROP INDEX IF EXISTS {schema}.river_job_metadata_index;
CREATE INDEX river_job_metadata_index ON {schema}.river_job USING gin (metadata) WHERE state IN ('retryable', 'cancelled', 'discarded');
