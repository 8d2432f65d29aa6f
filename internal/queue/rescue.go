package queue

import (
	"time"

	"github.com/jackc/pgx/v5"
)

// rescueQuery ends attempts that began too long ago and whose process is dead: token jobs,
// and jobs of workers from before lanes. River's rescuer does the same, but by its machine's
// clock: one that is ahead would take every running job for stuck. A living process keeps its
// jobs for up to ten minutes, longer than any runs, because the server may have changed, and
// its clock with it. The delay until the next attempt is River's. There are never many
// running jobs; locked ones are skipped.
const rescueQuery = `
-- name: rescue_stuck_jobs
UPDATE {schema}.river_job AS job
SET state = CASE WHEN ended.retry THEN 'retryable'::{schema}.river_job_state ELSE ended.final END,
	scheduled_at = CASE WHEN ended.retry THEN now() + ended.delay ELSE job.scheduled_at END,
	finalized_at = CASE WHEN ended.retry THEN NULL ELSE now() END,
	errors = array_append(job.errors, jsonb_build_object('at', now(), 'attempt', job.attempt, 'trace', '',
		'error', 'the worker stopped before the job was done')),
	metadata = job.metadata || jsonb_build_object('river:rescue_count', 1 +
		CASE WHEN jsonb_typeof(job.metadata->'river:rescue_count') = 'number' THEN (job.metadata->>'river:rescue_count')::numeric ELSE 0 END)
FROM (
	SELECT id, attempt < max_attempts AND NOT metadata ? 'cancel_attempted_at' AS retry,
		(CASE WHEN metadata ? 'cancel_attempted_at' THEN 'cancelled' ELSE 'discarded' END)::{schema}.river_job_state AS final,
		least((coalesce(cardinality(errors), 0) + 1) ^ 4, 1e9) * (0.9 + random() / 5) * interval '1 second' AS delay
	FROM {schema}.river_job
	WHERE state = 'running' AND attempted_at < now() - $1::interval
	  AND (attempted_at < now() - interval '10 minutes' OR NOT EXISTS (
		SELECT FROM worker_processes AS p
		WHERE p.client_id = attempted_by[array_upper(attempted_by, 1)] AND p.died_at IS NULL AND p.beat_at > clock_timestamp() - $2::interval))
	ORDER BY id
	LIMIT 1000
	FOR UPDATE OF river_job SKIP LOCKED) AS ended
WHERE job.id = ended.id`

// Rescue queues the end of attempts that began longer ago than the given time.
func (s Schema) Rescue(b *pgx.Batch, after time.Duration) {
	b.Queue(byIndexQuery)
	b.Queue(s.SQL(rescueQuery), after, DeadAfter)
}
