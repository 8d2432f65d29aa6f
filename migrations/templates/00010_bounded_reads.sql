-- Indexes for what is asked every few seconds, or by an operator in a hurry, of
-- tables that grow: each answer reads a bounded part of one of them.

-- Tokens by the second in which they expire, in the words of the queries, apart
-- from those of users who have to authorize again. Not two partial indexes: the
-- planner has no statistics of an expression that only those have.
CREATE INDEX user_tokens_expiry_worker_idx ON user_tokens (reauthorize_since, coalesce({schema}.token_expiry_seconds(expires_at), 0));

-- The oldest rows of the audit log, which go first.
CREATE INDEX token_audit_log_timestamp_worker_idx ON token_audit_log (timestamp);

-- A user's rejects, and whether a newer version of one was rejected as well.
CREATE INDEX ingest_rejects_user_id_activity_id_idx ON ingest_rejects (user_id, activity_id);
