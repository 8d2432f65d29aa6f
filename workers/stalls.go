package workers

import (
	"fmt"
	"slices"
	"time"
)

// stalledAfter is how long a queue may go without a claim that the database answered, in
// addition to a transaction, the max pause of a bulk lane and the poll interval.
const stalledAfter = 4 * time.Second

// Stalls returns a description of each stalled lane. Lanes of paused queues are left out.
func (s *Service) Stalls(paused []string) (stalls []string) {
	allowed := s.config.Batching.TransactionTimeout + backfillPace.max + s.config.River.FetchPollInterval + stalledAfter
	for _, l := range s.lanes {
		status := l.Status()
		switch since := time.Since(status.LastClaim); {
		case status.Fault != nil:
			stalls = append(stalls, fmt.Sprintf("queue %s stands still, which is no job's fault: %s", l.Queue, status.Fault))
		case slices.Contains(paused, l.Queue):
		case status.LastClaim.IsZero():
			stalls = append(stalls, fmt.Sprintf("queue %s: nothing was claimed yet", l.Queue))
		case since > allowed:
			stalls = append(stalls, fmt.Sprintf("queue %s: nothing was claimed for %v", l.Queue, since.Round(time.Second)))
		}
	}
	return stalls
}
