package workers

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
)

// drainPollInterval is how often an almost empty queue is polled.
const drainPollInterval = 50 * time.Millisecond

// waitUntilEmpty returns when no job of this process's queues can run now or within a few
// seconds. It does not wait for jobs whose next attempt is later, but logs how many there
// are. It retries after transient errors.
func (s *Service) waitUntilEmpty(ctx context.Context) error {
	ticker := time.NewTicker(drainPollInterval)
	defer ticker.Stop()
	for {
		due, unfinished, err := s.countUnfinished(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && dbpool.Classify(err) != dbpool.Transient:
			return fmt.Errorf("check whether the queues are empty: %w", err)
		case err == nil && !due:
			if unfinished > 0 {
				s.logger.WarnContext(ctx, "queues drained; some jobs wait for a later try", slog.Int("jobs", unfinished))
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

// countUnfinished counts unfinished jobs, but only if none is due.
func (s *Service) countUnfinished(ctx context.Context) (due bool, unfinished int, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.config.Database.StatementTimeout)
	defer cancel()
	schema, queues := queue.Schema(s.config.River.Schema), laneQueues(s.config)
	if s.config.RefreshesTokens() {
		queues = append(queues, jobs.QueueTokens)
	}
	if due, err = schema.Due(ctx, s.pool, queues); due || err != nil {
		return due, 0, err
	}
	unfinished, err = schema.CountUnfinished(ctx, s.pool, queues)
	return false, unfinished, err
}
