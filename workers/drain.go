package workers

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/trainingmonkey/worker/internal/pgfault"
)

// drainPollInterval is how often an almost empty queue is looked at.
const drainPollInterval = 50 * time.Millisecond

// unfinishedQuery counts the jobs that drain has to wait for: those that can run
// now or within a few seconds. Jobs that wait longer for their next try do not
// keep it, but are counted.
const unfinishedQuery = `
SELECT count(*) FILTER (WHERE state IN ('available', 'running', 'pending') OR scheduled_at < now() + interval '10 seconds'),
       count(*)
FROM {schema}.river_job
WHERE state IN ('available', 'running', 'pending', 'retryable', 'scheduled') AND queue = ANY($1)`

// waitUntilEmpty returns when no job of this process's queues is left to run.
// Transient faults are waited out like those of the jobs themselves.
func (s *Service) waitUntilEmpty(ctx context.Context) error {
	query := inSchema(unfinishedQuery, s.config.River.Schema)
	ticker := time.NewTicker(drainPollInterval)
	defer ticker.Stop()
	for {
		due, unfinished, err := s.countUnfinished(ctx, query)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && pgfault.Of(err) != pgfault.Transient:
			return fmt.Errorf("look whether the queues are empty: %w", err)
		case err == nil && due == 0:
			if unfinished > 0 {
				s.logger.WarnContext(ctx, "queues drained, but jobs wait for a later try", slog.Int("jobs", unfinished))
			}
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *Service) countUnfinished(ctx context.Context, query string) (due, unfinished int, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Database.StatementTimeout)
	defer cancel()
	err = s.pool.QueryRow(ctx, query, queueNames(s.config)).Scan(&due, &unfinished)
	return due, unfinished, err
}
