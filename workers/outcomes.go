package workers

import (
	"context"
	"sync/atomic"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/trainingmonkey/worker/internal/groupcommit"
	"github.com/trainingmonkey/worker/jobs"
)

// Lanes of a kind.
const (
	LaneLive = "live"
	LaneBulk = "bulk"
)

// Observe returns the observer of the engine of a kind's lane.
type Observe func(kind, lane string) groupcommit.Observer

// EngineStats are what one engine of a process did so far.
type EngineStats struct {
	Kind, Lane string
	groupcommit.Stats
}

// Engines returns the counts of each engine apart, with what River itself did
// to jobs that never reached it.
func (s *Service) Engines() []EngineStats {
	all := []EngineStats{
		{jobs.KindActivityIngest, LaneLive, s.ingest.lanes.live.Stats()},
		{jobs.KindActivityIngest, LaneBulk, s.ingest.lanes.bulk.Stats()},
		{jobs.KindACWRRecalc, LaneLive, s.recalc.lanes.live.Stats()},
		{jobs.KindACWRRecalc, LaneBulk, s.recalc.lanes.bulk.Stats()},
		{jobs.KindACWRBackfill, LaneBulk, s.backfill.engine.Stats()},
	}
	for i := range all {
		refused := s.refused[all[i].Kind]
		if all[i].Lane == LaneLive || all[i].Kind == jobs.KindACWRBackfill {
			all[i].Failed += refused.failed.Load() + refused.cancelled.Load()
			all[i].Cancelled += refused.cancelled.Load()
			all[i].Discarded += refused.discarded.Load()
		}
	}
	return all
}

// refusals counts the jobs of a kind that failed before an engine had them:
// their arguments do not decode, say. River alone knows what becomes of these.
type refusals struct{ failed, cancelled, discarded atomic.Int64 }

func newRefusals() map[string]*refusals {
	return map[string]*refusals{jobs.KindActivityIngest: {}, jobs.KindACWRRecalc: {}, jobs.KindACWRBackfill: {}}
}

// countRefused counts until ctx ends.
func (s *Service) countRefused(ctx context.Context, events <-chan *river.Event) {
	for {
		select {
		case event, open := <-events:
			if !open {
				return
			}
			s.countRefusal(event)
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) countRefusal(event *river.Event) {
	counts := s.refused[event.Job.Kind]
	switch {
	case counts == nil:
	case event.Kind == river.EventKindJobCancelled:
		counts.cancelled.Add(1)
	default:
		counts.failed.Add(1)
		if event.Job.State == rivertype.JobStateDiscarded {
			counts.discarded.Add(1)
		}
	}
}
