package overview

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/jobs"
)

// Queue is what waits in one queue, by state.
type Queue struct {
	Name     string     `json:"name"`
	PausedAt *time.Time `json:"paused_at"`
	States   []State    `json:"states"` // available, running, retryable, scheduled, pending, discarded
}

// State is the jobs of a queue that are in one state.
type State struct {
	State     string   `json:"state"`
	Jobs      int64    `json:"jobs"`
	Estimated bool     `json:"estimated"`          // Jobs is PostgreSQL's estimate, or at least what it says
	OldestAge *float64 `json:"oldest_age_seconds"` // since it was enqueued; null for none
}

// In returns the jobs in a state.
func (q Queue) In(state string) State {
	for _, s := range q.States {
		if s.State == state {
			return s
		}
	}
	return State{State: state}
}

// mostCounted is up to where jobs of one queue and state are counted.
const mostCounted = 10_000

// mostQueues bounds what is shown of queues that others made.
const mostQueues = 50

// queuesQuery counts each queue's jobs in each state, and finds the oldest,
// among the first rows of the index from which River fetches. With more rows
// than that the oldest is the oldest of those that are fetched first.
const queuesQuery = `
-- name: overview_queues
SELECT queue.name, queue.paused_at, state.name, found.jobs, extract(epoch FROM clock_timestamp() - found.oldest)::float8
FROM (
	SELECT name, max(paused_at) AS paused_at
	FROM (SELECT name, paused_at FROM {schema}.river_queue UNION ALL SELECT known, NULL FROM unnest($1::text[]) AS known) AS listed
	GROUP BY name
	ORDER BY name
	LIMIT $3
) AS queue
CROSS JOIN unnest('{available,running,retryable,scheduled,pending,discarded}'::{schema}.river_job_state[]) WITH ORDINALITY AS state (name, place)
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

func queueQueues(batch *pgx.Batch, o Options, s *Snapshot) {
	batch.Queue(inSchema(queuesQuery, o.RiverSchema), o.Queues, mostCounted+1, mostQueues).Query(func(rows pgx.Rows) error {
		s.Queues = []Queue{}
		var q Queue
		var st State
		_, err := pgx.ForEachRow(rows, []any{&q.Name, &q.PausedAt, &st.State, &st.Jobs, &st.OldestAge}, func() error {
			if last := len(s.Queues) - 1; last < 0 || s.Queues[last].Name != q.Name {
				s.Queues = append(s.Queues, q)
			}
			queue := &s.Queues[len(s.Queues)-1]
			queue.States = append(queue.States, st)
			return nil
		})
		return err
	})
}

// estimateQueries have the planner say from its statistics how many rows there
// are; they read none. It knows how many are in a state and how many in a queue,
// but takes the two for independent, which they are not.
const (
	estimateStateQuery = `EXPLAIN (FORMAT JSON) SELECT FROM {schema}.river_job WHERE state = $1::text::{schema}.river_job_state`
	estimateQueueQuery = `EXPLAIN (FORMAT JSON) SELECT FROM {schema}.river_job WHERE queue = $1::text`
)

// estimateLongQueues replaces the counts that stopped at the limit: of all jobs
// in the state, those that were not counted in other queues, shared out like
// the queues' jobs in any state.
func estimateLongQueues(ctx context.Context, tx pgx.Tx, o Options, s *Snapshot) error {
	long, counted := map[string][]int{}, map[string]int64{} // by state
	for i, q := range s.Queues {
		for _, state := range q.States {
			if state.Jobs > mostCounted {
				long[state.State] = append(long[state.State], i)
			} else {
				counted[state.State] += state.Jobs
			}
		}
	}
	for state, queues := range long {
		all, err := estimate(ctx, tx, o, estimateStateQuery, state)
		if err != nil {
			return err
		}
		weights, sum := make([]float64, len(queues)), 0.0
		for i, q := range queues {
			if weights[i], err = estimate(ctx, tx, o, estimateQueueQuery, s.Queues[q].Name); err != nil {
				return err
			}
			sum += weights[i]
		}
		for i, q := range queues {
			share := (all - float64(counted[state])) * weights[i] / max(1, sum)
			s.Queues[q].setEstimate(state, int64(share))
		}
	}
	return nil
}

// setEstimate never says less than what was counted.
func (q *Queue) setEstimate(state string, jobs int64) {
	for i := range q.States {
		if q.States[i].State == state {
			q.States[i].Estimated, q.States[i].Jobs = true, max(q.States[i].Jobs, jobs)
		}
	}
}

func estimate(ctx context.Context, tx pgx.Tx, o Options, query string, args ...any) (rows float64, err error) {
	var text []byte
	var plans []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		}
	}
	err = tx.QueryRow(ctx, inSchema(query, o.RiverSchema), append([]any{pgx.QueryExecModeExec}, args...)...).Scan(&text)
	if err == nil {
		err = json.Unmarshal(text, &plans)
	}
	if err == nil && len(plans) == 0 {
		err = errors.New("EXPLAIN shows no plan")
	}
	if err != nil {
		return 0, fmt.Errorf("estimate %v: %w", args, err)
	}
	return plans[0].Plan.Rows, nil
}

// Freshness is how far the athletes' numbers lag behind what was accepted.
type Freshness struct {
	Lane    string  `json:"lane"`               // live: what athletes wait for; bulk: imports
	Age     float64 `json:"oldest_age_seconds"` // of the oldest job whose activities' ACWR is not right yet; 0 for none
	Waiting int64   `json:"waiting"`            // jobs
}

// freshnessOf follows an activity through ingestion and recalculation.
func freshnessOf(queues []Queue) []Freshness {
	lanes := map[string]int{jobs.QueueIngest: 0, jobs.QueueRecalc: 0, jobs.QueueIngestBulk: 1, jobs.QueueRecalcBulk: 1}
	all := []Freshness{{Lane: "live"}, {Lane: "bulk"}}
	for _, q := range queues {
		lane, ok := lanes[q.Name]
		if !ok {
			continue
		}
		for _, state := range []string{"available", "running", "retryable", "scheduled"} {
			s := q.In(state)
			all[lane].Waiting += s.Jobs
			if s.OldestAge != nil {
				all[lane].Age = max(all[lane].Age, *s.OldestAge)
			}
		}
	}
	return all
}
