-- Functions with which any program enqueues jobs inside its own transaction.
SELECT 1;
