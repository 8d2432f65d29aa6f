package queue

import (
	"time"

	"github.com/jackc/pgx/v5"
)

// Job is a claimed row of river_job: its row is locked by the transaction that
// claimed it, and still says available.
type Job struct {
	ID          int64
	Kind        string
	Args        []byte // JSON
	Attempt     int    // spent so far, this one not counted
	MaxAttempts int
	Errors      int // attempts that ended with an error
	Deaths      int // see MarkSuspects
	CreatedAt   time.Time

	priority    int16
	scheduledAt time.Time
}

// Position is a place in the order of claims: priority, scheduled_at, id. The
// zero value is the beginning.
type Position struct {
	priority    int16
	scheduledAt time.Time
	id          int64
}

// Position returns the job's place in the order of claims.
func (j Job) Position() Position { return Position{j.priority, j.scheduledAt, j.ID} }

// claimColumns are those of Job. The number of deaths is text somebody may have
// written: what is not a small number counts as none.
const claimColumns = `id, kind, args, attempt, max_attempts, coalesce(array_length(errors, 1), 0),
	CASE WHEN metadata->>'` + deathsKey + `' ~ '^[0-9]{1,3}$' THEN (metadata->>'` + deathsKey + `')::int ELSE 0 END,
	created_at, priority, scheduled_at`

// claimQuery claims in the order of the index that River fetches with, one
// queue to a statement, from a position on: entries of finished jobs, which
// vacuum cannot remove while an old snapshot is held, are not walked over again
// with every claim. A paused queue yields nothing.
const claimQuery = `
-- name: claim_jobs
SELECT ` + claimColumns + `
FROM {schema}.river_job
WHERE state = 'available' AND queue = $1 AND (priority, scheduled_at, id) > ($2, $3, $4) AND scheduled_at <= now()
  AND NOT EXISTS (SELECT FROM {schema}.river_queue WHERE name = $1 AND paused_at IS NOT NULL)
ORDER BY priority, scheduled_at, id
LIMIT $5
FOR UPDATE SKIP LOCKED`

// claimNewestQuery claims from the other end of what athletes wait for: under a
// backlog the newest jobs need not wait for all older ones. Which version of an
// activity wins does not depend on the order of work.
const claimNewestQuery = `
-- name: claim_newest_jobs
SELECT ` + claimColumns + `
FROM {schema}.river_job
WHERE state = 'available' AND queue = $1 AND priority = 1 AND scheduled_at <= now()
  AND NOT EXISTS (SELECT FROM {schema}.river_queue WHERE name = $1 AND paused_at IS NOT NULL)
ORDER BY priority DESC, scheduled_at DESC, id DESC
LIMIT $2
FOR UPDATE SKIP LOCKED`

// Claim queues the claim of up to most jobs after a position. The jobs are
// appended to claimed in the order of claims when the batch is closed.
func (s Schema) Claim(b *pgx.Batch, queue string, after Position, most int, claimed *[]Job) {
	scheduledAt := after.scheduledAt
	if scheduledAt.IsZero() {
		scheduledAt = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	b.Queue(s.sql(claimQuery), queue, after.priority, scheduledAt, after.id, most).Query(appendJobs(claimed))
}

// ClaimNewest queues the claim of up to most of the newest jobs.
func (s Schema) ClaimNewest(b *pgx.Batch, queue string, most int, claimed *[]Job) {
	b.Queue(s.sql(claimNewestQuery), queue, most).Query(appendJobs(claimed))
}

func appendJobs(claimed *[]Job) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var j Job
		_, err := pgx.ForEachRow(rows, []any{
			&j.ID, &j.Kind, &j.Args, &j.Attempt, &j.MaxAttempts, &j.Errors, &j.Deaths, &j.CreatedAt, &j.priority, &j.scheduledAt,
		}, func() error {
			*claimed = append(*claimed, j)
			j.Args = nil // the next row's must not share its memory
			return nil
		})
		return err
	}
}

// deathsKey is where the metadata of a job count the processes that died while
// they worked it.
const deathsKey = "worker_deaths"

// markSuspectsQuery counts a death in advance. The jobs stay available; what
// completes them takes the mark away with the row's other facts.
const markSuspectsQuery = `
-- name: mark_suspects
UPDATE {schema}.river_job AS job
SET metadata = jsonb_set(metadata, '{` + deathsKey + `}', to_jsonb(new.deaths))
FROM unnest($1::bigint[], $2::int[]) AS new (id, deaths)
WHERE job.id = new.id AND jsonb_typeof(job.metadata) = 'object'`

// MarkSuspects queues the marking of claimed jobs, in ascending order of ids, as
// ones that would have killed one more process if this one died now. It is to be
// committed before they are worked.
func (s Schema) MarkSuspects(b *pgx.Batch, jobs []Job) {
	ids, deaths := make([]int64, len(jobs)), make([]int32, len(jobs))
	for i, j := range jobs {
		ids[i], deaths[i] = j.ID, int32(j.Deaths+1)
	}
	b.Queue(s.sql(markSuspectsQuery), ids, deaths)
}

// reclaimQuery claims jobs again that this process has just marked. Those that
// somebody else got hold of meanwhile are skipped. state is compared as text,
// which no index serves: statistics from a time when nothing waited must not
// have it look through all available jobs.
const reclaimQuery = `
-- name: reclaim_jobs
SELECT ` + claimColumns + `
FROM {schema}.river_job
WHERE id = ANY($1::bigint[]) AND state::text = 'available'
ORDER BY id
FOR UPDATE SKIP LOCKED`

// Reclaim queues the claim of jobs by their ids.
func (s Schema) Reclaim(b *pgx.Batch, ids []int64, claimed *[]Job) {
	b.Queue(s.sql(reclaimQuery), ids).Query(appendJobs(claimed))
}

// Before returns a position of the same priority so much earlier.
func (p Position) Before(d time.Duration) Position {
	return Position{p.priority, p.scheduledAt.Add(-d), 0}
}
