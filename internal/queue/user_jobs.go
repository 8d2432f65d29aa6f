package queue

import (
	"context"
	"fmt"

	"github.com/trainingmonkey/worker/jobs"
)

// searchedJobs is how many jobs one statement looks into: no index has the
// arguments of all of them.
const searchedJobs = 1000

// jobsOfUserQuery counts, among the next jobs, those whose arguments name a user,
// as purge_athlete finds them.
const jobsOfUserQuery = `
-- name: queue_jobs_of_user
SELECT coalesce(max(id), 0), count(*), count(*) FILTER (WHERE named)
FROM (
	SELECT id, kind = ANY($3::text[]) AND args @> ANY($4::jsonb[]) AS named
	FROM {schema}.river_job WHERE id > $1 ORDER BY id LIMIT $2
) AS next`

// JobsOfUser counts the jobs, in whatever state, whose arguments name a user, and
// calls searched after every statement.
func (s Schema) JobsOfUser(ctx context.Context, db Reader, user int32, searched func(jobs int64)) (found int64, err error) {
	kinds := []string{jobs.KindActivityIngest, jobs.KindACWRRecalc, jobs.KindTokenRefresh}
	named := []string{
		fmt.Sprintf(`{"activities": [{"user_id": %d}]}`, user), fmt.Sprintf(`{"activities": [{"user_id": "%d"}]}`, user),
		fmt.Sprintf(`{"ranges": [{"user_id": %d}]}`, user), fmt.Sprintf(`{"user_ids": [%d]}`, user),
	}
	for after, total := int64(0), int64(0); ; {
		var last, read, these int64
		if err := db.QueryRow(ctx, s.sql(jobsOfUserQuery), after, searchedJobs, kinds, named).Scan(&last, &read, &these); err != nil {
			return 0, fmt.Errorf("count the jobs of user %d: %w", user, err)
		}
		found, total = found+these, total+read
		searched(total)
		if read < searchedJobs {
			return found, nil
		}
		after = last
	}
}

// comesForUserQuery looks for a user among the first jobs that are not finished and
// bring results: no index has the arguments of all of them. A backfill's chunk is of
// everyone.
const comesForUserQuery = `
-- name: queue_comes_for_user
SELECT coalesce(bool_or(kind = $3 OR args @> ANY($4::jsonb[])), false), count(*) < $5
FROM (
	SELECT kind, args FROM {schema}.river_job
	WHERE ` + unfinished + ` AND queue = ANY($1::text[]) AND kind = ANY($2::text[])
	LIMIT $5
) AS waiting`

// ComesForUser tells whether a job that brings results of a user is still to come,
// and whether all that wait were looked into.
func (s Schema) ComesForUser(ctx context.Context, db Reader, user int32) (found, all bool, err error) {
	queues := []string{jobs.QueueIngest, jobs.QueueIngestBulk, jobs.QueueRecalc, jobs.QueueRecalcBulk, jobs.QueueBackfill}
	kinds := []string{jobs.KindActivityIngest, jobs.KindACWRRecalc, jobs.KindACWRBackfill}
	named := []string{fmt.Sprintf(`{"activities": [{"user_id": %d}]}`, user), fmt.Sprintf(`{"ranges": [{"user_id": %d}]}`, user)}
	if err := db.QueryRow(ctx, s.sql(comesForUserQuery), queues, kinds, jobs.KindACWRBackfill, named, searchedJobs).Scan(&found, &all); err != nil {
		return false, false, fmt.Errorf("look for jobs of user %d: %w", user, err)
	}
	return found, all, nil
}
