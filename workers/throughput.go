package workers

import (
	"context"
	"log/slog"
	"time"

	"github.com/trainingmonkey/worker/internal/lane"
	"github.com/trainingmonkey/worker/internal/throughput"
)

// counted is the observer that counts a lane's jobs for the throughput of all
// workers, and passes everything on to another observer, if any.
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

// writeThroughput writes the last counts once the lanes have stopped.
func (s *Service) writeThroughput(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, deregisterTime/4)
	defer cancel()
	if _, err := s.throughput.Write(ctx); err != nil {
		s.logger.WarnContext(ctx, "could not write the last seconds' throughput; the status page will lack it", slog.String("error", err.Error()))
	}
}
