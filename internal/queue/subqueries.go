package queue

import (
	"strings"

	"github.com/trainingmonkey/worker/jobs"
)

// Subqueries over jobs, for statements that compare jobs with other tables.
// Their arguments are SQL, never values, and must qualify their columns.

// Unfinished returns a condition: the job with the id exists and is not finished.
func (s Schema) Unfinished(id string) string {
	return s.SQL(`EXISTS (SELECT FROM {schema}.river_job WHERE ` + unfinished + ` AND river_job.id = ` + id + `)`)
}

// Outcome returns a query for the outcome of the job with an id: (unfinished
// boolean, last_error text), no row if the job is gone.
func (s Schema) Outcome(id string) string {
	return s.SQL(`SELECT ` + unfinished + ` AS unfinished, errors[array_upper(errors, 1)]->>'error' AS last_error
		FROM {schema}.river_job WHERE river_job.id = ` + id)
}

// waitingActivitiesQuery reads waiting jobs once, by the index that River fetches with.
// Args may be anything, because other programs enqueue as well.
const waitingActivitiesQuery = `
	SELECT job.id, activity->'user_id' AS user_id, activity->'activity_id' AS activity_id
	FROM {schema}.river_job AS job
	CROSS JOIN jsonb_array_elements(CASE jsonb_typeof(job.args->'activities') WHEN 'array' THEN job.args->'activities' ELSE '[]' END) AS activity
	WHERE job.` + unfinished + ` AND job.kind = '` + jobs.KindActivityIngest + `'
	  AND activity->'activity_id' IN ({ids})`

// WaitingActivities returns a query for the activities in unfinished ingest
// jobs: (id bigint of the job, user_id jsonb, activity_id jsonb). ids is a query
// for the ids of the activities, as jsonb.
func (s Schema) WaitingActivities(ids string) string {
	return s.SQL(strings.Replace(waitingActivitiesQuery, "{ids}", ids, 1))
}

const usersToRefreshQuery = `
	SELECT DISTINCT jsonb_array_elements(job.args->'user_ids')::int AS user_id
	FROM {schema}.river_job AS job
	WHERE job.kind = '` + jobs.KindTokenRefresh + `' AND job.` + unfinished + `
	  AND jsonb_typeof(job.args->'user_ids') = 'array'`

// UsersToRefresh returns a query for the users whose tokens an unfinished job
// refreshes: (user_id int).
func (s Schema) UsersToRefresh() string { return s.SQL(usersToRefreshQuery) }
