package groupcommit

import (
	"log/slog"
	"sync"
	"time"
)

// BreakerOptions say when an engine stops trusting its own batches.
type BreakerOptions struct {
	Threshold float64       // share of batched jobs that may fail for the engine's own reasons
	Window    time.Duration // over which they are counted
	Cooldown  time.Duration // how long jobs go one by one before a batch is tried again
}

// smallestSample is how many batched jobs a window needs before their share of
// failures means anything.
const smallestSample = 20

// breakerState is one of the three states of a circuit breaker.
type breakerState string

const (
	closed   breakerState = "closed"    // batches are formed
	open     breakerState = "open"      // every job has its own transaction
	halfOpen breakerState = "half-open" // one batch is on trial
)

// breaker is the circuit breaker that turns batching off when the engine itself
// is the fault, and on again when a batch on trial succeeds.
type breaker struct {
	options BreakerOptions
	logger  *slog.Logger
	now     func() time.Time

	mu             sync.Mutex
	state          breakerState
	since          time.Time // of an open breaker: when it opened; of a closed one: when the window began
	worked, failed int       // batched jobs in the window
}

func newBreaker(options BreakerOptions, logger *slog.Logger) *breaker {
	return &breaker{options: options, logger: logger, now: time.Now, state: closed, since: time.Now()}
}

// allow tells whether the next batch may have more than one job. While the
// breaker is half-open, one caller gets the batch on trial; it must report.
func (b *breaker) allow() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == open && b.now().Sub(b.since) >= b.options.Cooldown {
		b.state = halfOpen
		return true
	}
	return b.state == closed
}

// noTrial takes back an allowance that found only one job: that is no batch.
func (b *breaker) noTrial() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == halfOpen {
		b.state = open // its cooldown is over: the next caller is allowed again
	}
}

// report counts a batch of more than one job: how many there were and how many
// failed for the engine's own reasons.
func (b *breaker) report(jobs, failed int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case open:
	case halfOpen:
		if failed > 0 {
			b.trip("the batch on trial failed")
			return
		}
		b.state, b.since, b.worked, b.failed = closed, b.now(), 0, 0
		b.logger.Info("batching is on again", slog.String("circuit", string(b.state)))
	case closed:
		if b.now().Sub(b.since) > b.options.Window {
			b.since, b.worked, b.failed = b.now(), 0, 0
		}
		b.worked, b.failed = b.worked+jobs, b.failed+failed
		if b.worked >= smallestSample && float64(b.failed) > b.options.Threshold*float64(b.worked) {
			b.trip("too many jobs failed for the engine's own reasons")
		}
	}
}

func (b *breaker) trip(reason string) {
	b.logger.Error("batching is off, every job has its own transaction",
		slog.String("circuit", string(open)), slog.String("reason", reason),
		slog.Int("batched_jobs", b.worked), slog.Int("failed", b.failed), slog.Duration("again_after", b.options.Cooldown))
	b.state, b.since, b.worked, b.failed = open, b.now(), 0, 0
}

func (b *breaker) current() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.state)
}
