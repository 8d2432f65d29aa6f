package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// Counts is how many jobs are in a queue, by state.
type Counts struct {
	Name     string       `json:"name"`
	PausedAt *time.Time   `json:"paused_at"`
	States   []StateCount `json:"states"` // available, running, retryable, scheduled, pending, cancelled, discarded
}

// StateCount is the jobs of a queue that are in one state.
type StateCount struct {
	State     string   `json:"state"`
	Jobs      int64    `json:"jobs"`
	Estimated bool     `json:"estimated"`          // Jobs is PostgreSQL's estimate, or a lower bound (see AtLeast)
	OldestAge *float64 `json:"oldest_age_seconds"` // since it was enqueued; null for none
}

// AtLeast reports whether Jobs is a lower bound: counting stopped at the limit, and
// PostgreSQL's estimate, which is older, is not above it.
func (s StateCount) AtLeast() bool { return s.Estimated && s.Jobs == maxCounted+1 }

// In returns the count of a state, zero if it has none.
func (q Counts) In(state string) StateCount {
	for _, s := range q.States {
		if s.State == state {
			return s
		}
	}
	return StateCount{State: state}
}

// maxCounted is the number up to which jobs of one queue and state are counted.
const maxCounted = 10_000

// maxQueues bounds how many queues are counted, because other programs may have
// created some.
const maxQueues = 50

// countsQuery counts each queue's jobs in each state, and finds the oldest,
// among the first rows of the index from which River fetches. If there are more
// rows, the oldest is that of the rows read.
const countsQuery = `
-- name: queue_counts
SELECT queue.name, queue.paused_at, state.name, found.jobs, extract(epoch FROM clock_timestamp() - found.oldest)::float8
FROM (
	SELECT name, max(paused_at) AS paused_at
	FROM (SELECT name, paused_at FROM {schema}.river_queue UNION ALL SELECT known, NULL FROM unnest($1::text[]) AS known) AS listed
	GROUP BY name
	ORDER BY name
	LIMIT $3
) AS queue
CROSS JOIN unnest('{available,running,retryable,scheduled,pending,cancelled,discarded}'::{schema}.river_job_state[]) WITH ORDINALITY AS state (name, place)
CROSS JOIN LATERAL (
	SELECT count(*) AS jobs, min(created_at) AS oldest
	FROM (
		SELECT job.created_at
		FROM {schema}.river_job AS job
		WHERE job.state = state.name AND job.queue = queue.name
		ORDER BY job.priority, job.scheduled_at, job.id
		LIMIT $2
	) AS first
) AS found
ORDER BY queue.name, state.place`

// Counts queues the counting of jobs, up to a limit in each queue and state:
// EstimateCounts replaces those that stopped there. known queues are included even if no
// worker ever served them. counts is not nil once the batch is closed.
func (s Schema) Counts(b *pgx.Batch, known []string, counts *[]Counts) {
	b.Queue(s.SQL(countsQuery), known, maxCounted+1, maxQueues).Query(func(rows pgx.Rows) error {
		*counts = []Counts{}
		var q Counts
		var c StateCount
		_, err := pgx.ForEachRow(rows, []any{&q.Name, &q.PausedAt, &c.State, &c.Jobs, &c.OldestAge}, func() error {
			if last := len(*counts) - 1; last < 0 || (*counts)[last].Name != q.Name {
				*counts = append(*counts, q)
			}
			counted := &(*counts)[len(*counts)-1]
			counted.States = append(counted.States, c)
			return nil
		})
		return err
	})
}

const newestIDQuery = `
-- name: queue_newest_id
SELECT coalesce(max(id), 0) FROM {schema}.river_job`

// NewestID queues the reading of the newest job's id, 0 for none.
func (s Schema) NewestID(b *pgx.Batch, id *int64) {
	b.Queue(s.SQL(newestIDQuery)).QueryRow(func(row pgx.Row) error { return row.Scan(id) })
}

// enqueuedQuery counts new jobs along the primary key. Foreign kinds are counted as one.
const enqueuedQuery = `
-- name: queue_enqueued
SELECT CASE WHEN kind = ANY($3::text[]) THEN kind ELSE 'other' END, count(*)
FROM {schema}.river_job
WHERE id > $1 AND id <= $2
GROUP BY 1`

// Enqueued counts the jobs with ids above after, up to and including upTo, by
// kind; kinds not listed count as other.
func (s Schema) Enqueued(ctx context.Context, db dbpool.Querier, after, upTo int64, kinds []string) (map[string]int64, error) {
	rows, _ := db.Query(ctx, s.SQL(enqueuedQuery), after, upTo, kinds)
	byKind := map[string]int64{}
	var kind string
	var n int64
	_, err := pgx.ForEachRow(rows, []any{&kind, &n}, func() error {
		byKind[kind] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("count enqueued jobs: %w", err)
	}
	return byKind, nil
}
