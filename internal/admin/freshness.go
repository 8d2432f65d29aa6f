package admin

import (
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/jobs"
)

// Freshness is how far a lane's work lags behind the accepted jobs. Writing says whether
// results are written.
type Freshness struct {
	Lane    string  `json:"lane"`               // live: jobs that athletes wait for; bulk: imports
	Age     float64 `json:"oldest_age_seconds"` // of the oldest job that is not worked yet; 0 for none
	Waiting int64   `json:"waiting"`            // jobs
	About   string  `json:"about"`              // "about" or "at least" if Waiting was not counted; otherwise empty
}

// lanes are the queues that an activity passes through, with their index in
// Snapshot.Freshness.
var lanes = map[string]int{jobs.QueueIngest: 0, jobs.QueueRecalc: 0, jobs.QueueIngestBulk: 1, jobs.QueueRecalcBulk: 1}

// unworked are the states of jobs that are not worked yet.
var unworked = []string{"available", "running", "retryable", "scheduled"}

// laneFreshness combines ingestion and recalculation.
func laneFreshness(queues []queue.Counts) []Freshness {
	all := []Freshness{{Lane: "live"}, {Lane: "bulk"}}
	for _, q := range queues {
		lane, ok := lanes[q.Name]
		if !ok {
			continue
		}
		n, about := waitingIn(q)
		all[lane].Waiting += n
		all[lane].About = vaguer(all[lane].About, about)
		all[lane].Age = max(all[lane].Age, OldestAge(q))
	}
	return all
}

// OldestAge returns the age in seconds of a queue's oldest job not worked yet; 0 for none.
func OldestAge(q queue.Counts) (oldest float64) {
	for _, state := range unworked {
		if age := q.In(state).OldestAge; age != nil {
			oldest = max(oldest, *age)
		}
	}
	return oldest
}

// waitingIn returns the number of a queue's jobs not worked yet. about is "about"
// or "at least" if they were not counted.
func waitingIn(q queue.Counts) (n int64, about string) {
	for _, state := range unworked {
		s := q.In(state)
		n += s.Jobs
		switch {
		case s.AtLeast():
			about = vaguer(about, "at least")
		case s.Estimated:
			about = vaguer(about, "about")
		}
	}
	return n, about
}

// vaguer returns the qualifier of the sum of two counts.
func vaguer(a, b string) string {
	if a == "at least" || b == "" {
		return a
	}
	return b
}
