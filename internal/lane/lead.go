package lane

import (
	"context"
	"sync/atomic"
	"time"
)

// lead is a loop's part in polling for jobs. One loop of a lane has the lead: it
// waits for jobs and claims them. It passes the lead on when there is more than
// it claimed, or when its transaction takes its time. Otherwise what arrives
// meanwhile is its next batch: two small transactions at once take longer than
// one after the other, for they share the processors with the server.
type lead struct {
	vacant chan struct{} // of the lane; holds a value while nobody has the lead
	held   atomic.Bool
}

// leadTime is how long a transaction may take before another loop claims what
// has arrived meanwhile.
const leadTime = 25 * time.Millisecond

func newLeads(loops int) []lead {
	vacant := make(chan struct{}, 1)
	vacant <- struct{}{}
	leads := make([]lead, loops)
	for i := range leads {
		leads[i].vacant = vacant
	}
	return leads
}

// take waits for the lead. It returns whether the loop did not have it before;
// false, too, when ctx ends.
func (l *lead) take(ctx context.Context) (taken bool) {
	if l.held.Load() {
		return false
	}
	select {
	case <-l.vacant:
		l.held.Store(true)
		return true
	case <-ctx.Done():
		return false
	}
}

// passOn gives the lead to the next loop. Without the lead it does nothing.
func (l *lead) passOn() {
	if l.held.Swap(false) {
		l.vacant <- struct{}{}
	}
}
