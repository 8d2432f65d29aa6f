package workers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// fetching knows whether this process gets on with its queues. River reports
// every fetch that succeeded, empty ones included, and fetches from an idle
// queue every poll interval; it does not fetch while a queue is paused or all
// its slots are taken.
type fetching struct {
	river.PluginDefaults
	queues map[string]*fetchedQueue // fixed after construction
}

type fetchedQueue struct {
	slots     int64
	fetches   atomic.Int64
	last      atomic.Int64 // when a fetch succeeded, in Unix nanoseconds; 0 never
	executing atomic.Int64
	finished  atomic.Int64
}

func newFetching(queues map[string]river.QueueConfig) *fetching {
	f := &fetching{queues: map[string]*fetchedQueue{}}
	for name, q := range queues {
		f.queues[name] = &fetchedQueue{slots: int64(q.MaxWorkers)}
	}
	return f
}

// MetricEmit implements rivertype.HookMetricEmit.
func (f *fetching) MetricEmit(_ context.Context, params *rivertype.HookMetricEmitParams) {
	metric, ok := params.Metric.(*rivertype.JobGetAvailableCountMetric)
	if !ok {
		return
	}
	if q := f.queues[metric.Queue]; q != nil {
		q.fetches.Add(1)
		q.last.Store(time.Now().UnixNano())
	}
}

// Work implements rivertype.WorkerMiddleware.
func (f *fetching) Work(ctx context.Context, job *rivertype.JobRow, work func(context.Context) error) error {
	q := f.queues[job.Queue]
	if q == nil {
		return work(ctx)
	}
	q.executing.Add(1)
	defer func() {
		q.executing.Add(-1)
		q.finished.Add(1)
	}()
	return work(ctx)
}

// Fetching is how a process gets on with one of its queues.
type Fetching struct {
	Queue     string
	Fetches   int64     // that succeeded
	Last      time.Time // of them; zero for none
	Slots     int64
	Executing int64
}

// Fetching returns how this process gets on with each queue, by name.
func (s *Service) Fetching() []Fetching {
	var all []Fetching
	for name, q := range s.fetching.queues {
		f := Fetching{Queue: name, Fetches: q.fetches.Load(), Slots: q.slots, Executing: q.executing.Load()}
		if last := q.last.Load(); last != 0 {
			f.Last = time.Unix(0, last)
		}
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b Fetching) int { return strings.Compare(a.Queue, b.Queue) })
	return all
}

const (
	// stalledAfter is how long, beyond two polls, a queue may go without a fetch.
	stalledAfter = 4 * time.Second
	// stuckAfter is how long all slots may be taken without a job finishing.
	// It exceeds what a transaction with all its retries may take.
	stuckAfter = time.Minute
)

// StallWatch looks at the fetch loops of a service time and again. It is not
// for concurrent use.
type StallWatch struct {
	service  *Service
	progress map[string]progress
}

// progress is what a look at a queue found, and when it last saw it get on.
type progress struct {
	at       time.Time
	finished int64
}

// NewStallWatch starts watching now.
func (s *Service) NewStallWatch() *StallWatch {
	return &StallWatch{service: s, progress: map[string]progress{}}
}

// Look returns of each queue that does not get on what is wrong with it. paused
// are the queues of which nothing is to be expected.
func (w *StallWatch) Look(paused []string) (stalls []string) {
	now := time.Now()
	allowed := stalledAfter + 2*w.service.config.River.FetchPollInterval
	for _, f := range w.service.Fetching() {
		q := w.service.fetching.queues[f.Queue]
		p, seen := w.progress[f.Queue]
		if !seen {
			p.at = now
		}
		finished := q.finished.Load()
		full := f.Executing >= f.Slots
		if slices.Contains(paused, f.Queue) || (full && finished != p.finished) {
			p.at = now
		}
		if f.Last.After(p.at) {
			p.at = f.Last
		}
		p.finished = finished
		w.progress[f.Queue] = p
		switch since := now.Sub(p.at); {
		case full && since > stuckAfter:
			stalls = append(stalls, fmt.Sprintf("queue %s: all %d slots are taken and no job finished for %v", f.Queue, f.Slots, since.Round(time.Second)))
		case !full && since > allowed:
			stalls = append(stalls, fmt.Sprintf("queue %s: nothing was fetched for %v", f.Queue, since.Round(time.Second)))
		case !full && f.Fetches == 0 && !slices.Contains(paused, f.Queue):
			stalls = append(stalls, fmt.Sprintf("queue %s: nothing was fetched yet", f.Queue))
		}
	}
	return stalls
}
