package workers

import (
	"context"
	"log/slog"
	"time"

	"github.com/trainingmonkey/worker/internal/lane"
	"github.com/trainingmonkey/worker/internal/throughput"
)

// counted is the observer of a lane whose jobs are counted for the whole system's
// throughput, whether anybody else watches the lane or not.
type counted struct {
	count *throughput.Count
	next  lane.Observer // nil for none
}

// Transacted implements lane.Observer.
func (c counted) Transacted(t lane.Transaction) {
	if t.Err == nil {
		c.count.Failed(t.Failures)
	}
	if c.next != nil {
		c.next.Transacted(t)
	}
}

// Committed implements lane.Observer.
func (c counted) Committed(latency time.Duration) {
	c.count.Committed(latency)
	if c.next != nil {
		c.next.Committed(latency)
	}
}

// writeThroughput writes what the lanes did since the last write, when they have
// stopped.
func (s *Service) writeThroughput(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, deregisterTime/4)
	defer cancel()
	if _, err := s.throughput.Write(ctx); err != nil {
		s.logger.WarnContext(ctx, "the last seconds' throughput is lost", slog.String("error", err.Error()))
	}
}
