package queue

// OlderMayWait returns an SQL expression: whether one of the queues may still have a job
// with an id below newest that is not in batch. newest, queues and batch are the names of
// parameters. It reads at most 100 jobs, by the index that River fetches with; with more
// it is true, because then there is a backlog.
func (s Schema) OlderMayWait(newest, queues, batch string) string {
	return s.SQL(`(
	SELECT coalesce(bool_or(id < ` + newest + `), false) OR count(*) = 100
	FROM (
		SELECT id FROM {schema}.river_job
		WHERE state IN ('available', 'running', 'retryable', 'scheduled', 'pending', 'discarded', 'cancelled')
		  AND priority IN (1, 2, 3, 4) AND queue = ANY(` + queues + `) AND NOT id = ANY(` + batch + `)
		LIMIT 100
	) AS unfinished)`)
}

// OldestUnfinished returns an SQL expression: the id of the oldest job of a
// kind that may still be worked, or the highest bigint if there is none.
func (s Schema) OldestUnfinished(kind string) string {
	return s.SQL(`coalesce((SELECT min(id) FROM {schema}.river_job WHERE kind = '` + kind + `' AND state <> 'completed'), 9223372036854775807)`)
}
