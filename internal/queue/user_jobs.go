package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
)

// searchedJobs is how many jobs one statement searches, because no index covers
// the arguments of all jobs.
const searchedJobs = 1000

// jobsOfUserQuery counts, among the next jobs, those whose arguments name a user,
// by the conditions of purge_athlete.
const jobsOfUserQuery = `
-- name: queue_jobs_of_user
SELECT coalesce(max(id), 0), count(*), count(*) FILTER (WHERE named)
FROM (
	SELECT id, kind = ANY($3::text[]) AND args @> ANY($4::jsonb[]) AS named
	FROM {schema}.river_job WHERE id > $1 ORDER BY id LIMIT $2
) AS next`

// kindsOfUsers are the kinds whose arguments name users.
var kindsOfUsers = []string{jobs.KindActivityIngest, jobs.KindACWRRecalc, jobs.KindTokenRefresh}

// namesUser returns the JSON that the arguments of a job contain if they name a user.
func namesUser(user int32) []string {
	return []string{
		fmt.Sprintf(`{"activities": [{"user_id": %d}]}`, user), fmt.Sprintf(`{"activities": [{"user_id": "%d"}]}`, user),
		fmt.Sprintf(`{"ranges": [{"user_id": %d}]}`, user), fmt.Sprintf(`{"user_ids": [%d]}`, user),
	}
}

// JobsOfUser counts the jobs in any state whose arguments name a user. After
// every statement it calls searched with the number of jobs searched so far.
func (s Schema) JobsOfUser(ctx context.Context, db dbpool.Querier, user int32, searched func(jobs int64)) (found int64, err error) {
	for after, total := int64(0), int64(0); ; {
		var last, read, these int64
		if err := db.QueryRow(ctx, s.SQL(jobsOfUserQuery), after, searchedJobs, kindsOfUsers, namesUser(user)).Scan(&last, &read, &these); err != nil {
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

// waitingJobs is a subquery: some unfinished jobs of the given queues and kinds,
// up to a limit, because no index covers the arguments of all jobs.
const waitingJobs = `
	SELECT id, kind, queue, state, attempt, created_at, scheduled_at, args FROM {schema}.river_job
	WHERE ` + unfinished + ` AND queue = ANY($1::text[]) AND kind = ANY($2::text[])
	LIMIT $5`

// comesForUserQuery searches for a user in the jobs that compute results. A backfill
// chunk may contain any user.
const comesForUserQuery = `
-- name: queue_comes_for_user
SELECT coalesce(bool_or(kind = $3 OR args @> ANY($4::jsonb[])), false), count(*) < $5
FROM (` + waitingJobs + `) AS waiting`

// ComesForUser reports whether an unfinished job will compute results of a user, and
// whether all unfinished jobs were searched.
func (s Schema) ComesForUser(ctx context.Context, db dbpool.Querier, user int32) (found, all bool, err error) {
	queues := []string{jobs.QueueIngest, jobs.QueueIngestBulk, jobs.QueueRecalc, jobs.QueueRecalcBulk, jobs.QueueBackfill}
	kinds := []string{jobs.KindActivityIngest, jobs.KindACWRRecalc, jobs.KindACWRBackfill}
	named := []string{fmt.Sprintf(`{"activities": [{"user_id": %d}]}`, user), fmt.Sprintf(`{"ranges": [{"user_id": %d}]}`, user)}
	if err := db.QueryRow(ctx, s.SQL(comesForUserQuery), queues, kinds, jobs.KindACWRBackfill, named, searchedJobs).Scan(&found, &all); err != nil {
		return false, false, fmt.Errorf("search for jobs of user %d: %w", user, err)
	}
	return found, all, nil
}

// WaitingJob is an unfinished job.
type WaitingJob struct {
	ID          int64
	Kind        string
	Queue       string
	State       string
	Attempt     int
	CreatedAt   time.Time
	ScheduledAt time.Time
}

// waitingForUserQuery returns at least one row, which has the number of jobs searched.
const waitingForUserQuery = `
-- name: queue_waiting_for_user
WITH waiting AS MATERIALIZED (` + waitingJobs + `)
SELECT searched.jobs, coalesce(named.id, 0), coalesce(named.kind, ''), coalesce(named.queue, ''), coalesce(named.state::text, ''),
       coalesce(named.attempt, 0), coalesce(named.created_at, now()), coalesce(named.scheduled_at, now())
FROM (SELECT count(*) AS jobs FROM waiting) AS searched
LEFT JOIN (SELECT * FROM waiting WHERE args @> ANY($4::jsonb[]) ORDER BY id LIMIT $3) AS named ON true
ORDER BY named.id`

// WaitingForUser returns up to limit of the unfinished jobs that name a user,
// oldest first, and whether all unfinished jobs were searched.
func (s Schema) WaitingForUser(ctx context.Context, db dbpool.Querier, user int32, limit int) (found []WaitingJob, all bool, err error) {
	queues := []string{jobs.QueueIngest, jobs.QueueIngestBulk, jobs.QueueRecalc, jobs.QueueRecalcBulk, jobs.QueueTokens}
	rows, _ := db.Query(ctx, s.SQL(waitingForUserQuery), queues, kindsOfUsers, limit, namesUser(user), searchedJobs)
	var searched int64
	var job WaitingJob
	_, err = pgx.ForEachRow(rows, []any{&searched, &job.ID, &job.Kind, &job.Queue, &job.State, &job.Attempt, &job.CreatedAt, &job.ScheduledAt}, func() error {
		if job.ID != 0 {
			found = append(found, job)
		}
		return nil
	})
	if err != nil {
		return nil, false, fmt.Errorf("list waiting jobs of user %d: %w", user, err)
	}
	return found, searched < searchedJobs, nil
}
