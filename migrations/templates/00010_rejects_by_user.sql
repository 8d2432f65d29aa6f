-- A user's rejects, and whether a newer version of one was rejected as well: an
-- operator in a hurry reads a bounded part of them.
CREATE INDEX ingest_rejects_user_id_activity_id_idx ON ingest_rejects (user_id, activity_id);
