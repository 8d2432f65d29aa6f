package overview

import (
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
)

// Freshness is how far the work lags behind what was accepted. Whether the results
// of what was worked are written is Writing's.
type Freshness struct {
	Lane    string  `json:"lane"`               // live: what athletes wait for; bulk: imports
	Age     float64 `json:"oldest_age_seconds"` // of the oldest job that is not worked yet; 0 for none
	Waiting int64   `json:"waiting"`            // jobs
	About   string  `json:"about"`              // "about" or "at least" where Waiting was not counted; otherwise empty
}

// freshnessOf follows an activity through ingestion and recalculation.
func freshnessOf(queues []queue.Counts) []Freshness {
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
			switch {
			case s.AtLeast():
				all[lane].About = "at least"
			case s.Estimated && all[lane].About == "":
				all[lane].About = "about"
			}
			if s.OldestAge != nil {
				all[lane].Age = max(all[lane].Age, *s.OldestAge)
			}
		}
	}
	return all
}
