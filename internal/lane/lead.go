package lane

import (
	"context"
	"sync/atomic"
	"time"
)

// lead is the right to poll for jobs. One loop of a lane has it: it waits for jobs and
// claims them. It passes the lead on if more jobs wait than it claimed, or if its
// transaction takes longer than leadTime. Otherwise the jobs that arrive meanwhile are its
// next batch: two small transactions at once take longer than one after the other, because
// they share the processors with the server.
type lead struct {
	vacant chan struct{} // of the lane; has a value while no loop has the lead
	held   atomic.Bool
}

// leadTime is how long a transaction may take before another loop claims the
// jobs that arrived meanwhile.
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

// take waits for the lead and reports whether the loop has just got it: false
// if it already had it, or if ctx ended.
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

// passOn gives the lead to the next loop, if this one has it.
func (l *lead) passOn() {
	if l.held.Swap(false) {
		l.vacant <- struct{}{}
	}
}
