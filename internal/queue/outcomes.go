package queue

// MarkGone returns the statement that records up to which id all jobs are gone. With
// job_status_retention these marks bound which jobs job_status knows: a job's row has
// been gone for at least as long as a mark at or above its id exists. An existing mark
// keeps its time.
func (s Schema) MarkGone() string {
	return s.SQL(`
-- name: mark_gone_jobs
INSERT INTO {schema}.worker_job_marks (job_id)
SELECT coalesce((SELECT min(id) - 1 FROM {schema}.river_job), ` + lastID + `)
ON CONFLICT DO NOTHING`)
}

// ForgetMarks returns the statement that deletes up to $1 of the marks below the newest one
// that is older than $2. From then on job_status says unknown for ids up to that mark.
func (s Schema) ForgetMarks() string {
	return s.SQL(`
-- name: forget_job_marks
DELETE FROM {schema}.worker_job_marks WHERE job_id IN (
	SELECT job_id FROM {schema}.worker_job_marks
	WHERE job_id < (SELECT max(job_id) FROM {schema}.worker_job_marks WHERE noted_at < now() - $2::interval)
	ORDER BY job_id
	LIMIT $1
	FOR UPDATE SKIP LOCKED)`)
}

// ForgetOutcomes returns the statement that deletes up to $1 outcomes of jobs for
// which job_status says unknown, and no others: a failed job without a recorded
// outcome would be reported as done.
func (s Schema) ForgetOutcomes() string {
	return s.SQL(`
-- name: forget_job_outcomes
DELETE FROM {schema}.worker_job_outcomes WHERE job_id IN (
	SELECT job_id FROM {schema}.worker_job_outcomes
	WHERE job_id <= (SELECT min(job_id) FROM {schema}.worker_job_marks)
	ORDER BY job_id
	LIMIT $1
	FOR UPDATE SKIP LOCKED)`)
}
