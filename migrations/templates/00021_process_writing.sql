-- What each process does with results: its own acwr.write and
-- acwr.rollout_percent. Whoever asks what becomes of them has other settings than
-- the workers. NULL: the process is of an older version and does not say.
ALTER TABLE worker_processes ADD COLUMN IF NOT EXISTS acwr_write text;
ALTER TABLE worker_processes ADD COLUMN IF NOT EXISTS acwr_rollout_percent integer;
