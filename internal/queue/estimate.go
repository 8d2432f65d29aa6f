package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
)

// The planner estimates how many jobs are in a state and how many in a queue, but
// assumes that the two are independent, which they are not.
const (
	stateJobsQuery = `SELECT FROM {schema}.river_job WHERE state = $1::text::{schema}.river_job_state`
	queueJobsQuery = `SELECT FROM {schema}.river_job WHERE queue = $1::text`
)

// EstimateCounts replaces the counts that stopped at the limit. It takes the estimate of
// all jobs in the state, subtracts those counted in other queues, and distributes the
// rest in proportion to the queues' jobs in any state.
func (s Schema) EstimateCounts(ctx context.Context, db dbpool.Querier, counts []Counts) error {
	long, counted := map[string][]int{}, map[string]int64{} // by state
	for i, q := range counts {
		for _, c := range q.States {
			if c.Jobs > maxCounted {
				long[c.State] = append(long[c.State], i)
			} else {
				counted[c.State] += c.Jobs
			}
		}
	}
	for state, queues := range long {
		all, err := EstimateRows(ctx, db, s.SQL(stateJobsQuery), state)
		if err != nil {
			return err
		}
		weights, sum := make([]float64, len(queues)), 0.0
		for i, q := range queues {
			if weights[i], err = EstimateRows(ctx, db, s.SQL(queueJobsQuery), counts[q].Name); err != nil {
				return err
			}
			sum += weights[i]
		}
		for i, q := range queues {
			share := (all - float64(counted[state])) * weights[i] / max(1, sum)
			counts[q].setEstimate(state, int64(share))
		}
	}
	return nil
}

// setEstimate never sets less than was counted.
func (q *Counts) setEstimate(state string, jobs int64) {
	for i := range q.States {
		if q.States[i].State == state {
			q.States[i].Estimated, q.States[i].Jobs = true, max(q.States[i].Jobs, jobs)
		}
	}
}

// EstimateRows returns how many rows the planner expects of a query, by its
// statistics. It does not run the query.
func EstimateRows(ctx context.Context, db dbpool.Querier, query string, args ...any) (rows float64, err error) {
	var text []byte
	var plans []struct {
		Plan struct {
			Rows float64 `json:"Plan Rows"`
		}
	}
	err = db.QueryRow(ctx, "EXPLAIN (FORMAT JSON) "+query, append([]any{pgx.QueryExecModeExec}, args...)...).Scan(&text)
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
