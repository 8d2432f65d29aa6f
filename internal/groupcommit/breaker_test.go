package groupcommit

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
)

// breakerClock is a time that only the test moves.
type breakerClock struct{ elapsed atomic.Int64 }

func (c *breakerClock) now() time.Time {
	return time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(c.elapsed.Load()))
}

func (c *breakerClock) advance(d time.Duration) { c.elapsed.Add(int64(d)) }

// onClock makes a breaker run on a clock of the test's.
func onClock(b *breaker) *breakerClock {
	clock := &breakerClock{}
	b.now, b.since = clock.now, clock.now()
	return clock
}

func TestBreaker(t *testing.T) {
	t.Parallel()
	options := BreakerOptions{Threshold: 0.1, Window: time.Minute, Cooldown: 30 * time.Second}
	for name, c := range map[string]struct {
		run  func(b *breaker, clock *breakerClock)
		want breakerState
	}{
		"new": {func(*breaker, *breakerClock) {}, closed},
		"too small a sample": {func(b *breaker, _ *breakerClock) {
			b.report(19, 19)
		}, closed},
		"sample reached over several batches": {func(b *breaker, _ *breakerClock) {
			b.report(19, 19)
			b.report(1, 0)
		}, open},
		"at the threshold": {func(b *breaker, _ *breakerClock) {
			b.report(100, 10)
		}, closed},
		"above the threshold": {func(b *breaker, _ *breakerClock) {
			b.report(100, 11)
		}, open},
		"diluted": {func(b *breaker, _ *breakerClock) {
			b.report(19, 5)
			b.report(100, 0)
		}, closed},
		"the window is over": {func(b *breaker, clock *breakerClock) {
			b.report(19, 19)
			clock.advance(time.Minute + time.Nanosecond)
			b.report(19, 19)
		}, closed},
		"the window is not over": {func(b *breaker, clock *breakerClock) {
			b.report(19, 19)
			clock.advance(time.Minute)
			b.report(19, 19)
		}, open},
		"within the cooldown": {func(b *breaker, clock *breakerClock) {
			b.report(20, 20)
			clock.advance(30*time.Second - time.Nanosecond)
			if b.allow() {
				t.Error("a batch is allowed within the cooldown")
			}
		}, open},
		"one batch on trial": {func(b *breaker, clock *breakerClock) {
			b.report(20, 20)
			clock.advance(30 * time.Second)
			if !b.allow() || b.allow() {
				t.Error("want the first caller allowed and no second")
			}
		}, halfOpen},
		"the trial succeeds": {func(b *breaker, clock *breakerClock) {
			b.report(20, 20)
			clock.advance(30 * time.Second)
			b.allow()
			b.report(2, 0)
			b.report(19, 19) // the window began anew
		}, closed},
		"the trial fails": {func(b *breaker, clock *breakerClock) {
			b.report(20, 20)
			clock.advance(30 * time.Second)
			b.allow()
			b.report(2, 1)
			clock.advance(30*time.Second - time.Nanosecond)
			if b.allow() {
				t.Error("a batch is allowed before the cooldown after a failed trial")
			}
		}, open},
		"the trial found one job": {func(b *breaker, clock *breakerClock) {
			b.report(20, 20)
			clock.advance(30 * time.Second)
			b.allow()
			b.noTrial()
			if !b.allow() {
				t.Error("the next caller gets no trial")
			}
		}, halfOpen},
		"noTrial while closed": {func(b *breaker, _ *breakerClock) {
			b.noTrial()
		}, closed},
		"late reports while open": {func(b *breaker, clock *breakerClock) {
			b.report(20, 20)
			b.report(1000, 0)
			clock.advance(29 * time.Second)
			b.report(1000, 1000) // must not prolong the cooldown
			clock.advance(time.Second)
			if !b.allow() {
				t.Error("no trial after the cooldown")
			}
			b.report(2, 0)
		}, closed},
	} {
		b := newBreaker(options, slog.New(slog.DiscardHandler))
		clock := onClock(b)
		c.run(b, clock)
		if got := b.current(); got != string(c.want) {
			t.Errorf("%s: circuit is %s, want %s", name, got, c.want)
		}
	}
}

// TestBreakerStopsBatchesThatFail has an engine whose batches fail although each
// of their jobs is good.
func TestBreakerStopsBatchesThatFail(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  func() error
		failed int // of the first thirty jobs
	}{
		"program error": {func() error { return &pgconn.PgError{Code: "42P01"} }, 30},
		"panic":         {func() error { panic("two are too many") }, 0},
		"refused data":  {func() error { return &pgconn.PgError{Code: "23505"} }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool := effectsDatabase(t)
			var healed atomic.Bool
			e := New(pool, testOptions(), effectKind(func(ctx context.Context, tx pgx.Tx, jobs []*river.Job[effectArgs]) error {
				if len(jobs) > 1 && !healed.Load() {
					return c.fault()
				}
				return writeEffects(ctx, tx, jobs)
			}))
			clock := onClock(e.breaker)
			failed := 0
			for _, err := range workAll(t, e, runningJobs(t, pool, 30)) {
				if err != nil {
					failed++
				}
			}
			if s := e.Stats(); s.Circuit != "open" || failed != c.failed {
				t.Fatalf("after a batch that failed: %d jobs failed, stats = %+v; want %d and an open circuit", failed, s, c.failed)
			}
			before := e.Stats()
			for i, err := range workAll(t, e, runningJobs(t, pool, 40)) {
				if err != nil {
					t.Errorf("verdict of job %d with the circuit open = %v, want nil", i, err)
				}
			}
			if s := e.Stats(); s.Transactions-before.Transactions != 40 || s.Circuit != "open" {
				t.Errorf("40 jobs with the circuit open took %d transactions, circuit %s", s.Transactions-before.Transactions, s.Circuit)
			}

			healed.Store(true)
			clock.advance(e.options.Breaker.Cooldown)
			before = e.Stats()
			for i, err := range workAll(t, e, runningJobs(t, pool, 50)) {
				if err != nil {
					t.Errorf("verdict of job %d after the cooldown = %v, want nil", i, err)
				}
			}
			if s := e.Stats(); s.Circuit != "closed" || s.Transactions-before.Transactions > 5 {
				t.Errorf("50 jobs after the cooldown took %d transactions, circuit %s; want few and closed", s.Transactions-before.Transactions, s.Circuit)
			}
			if got, want := completedJobs(t, pool), 30-c.failed+40+50; got != want {
				t.Errorf("completed jobs = %d, want %d", got, want)
			}
		})
	}
}

// TestPoisonedJobsDoNotOpenTheCircuit has jobs that are guilty themselves, more
// of them than the threshold: batching is not at fault.
func TestPoisonedJobsDoNotOpenTheCircuit(t *testing.T) {
	t.Parallel()
	for name, poison := range map[string]func() error{
		"panic": func() error { panic("cannot bear it") },
		"data":  func() error { return &pgconn.PgError{Code: "22003"} },
	} {
		pool := effectsDatabase(t)
		kind := effectKind(func(ctx context.Context, tx pgx.Tx, jobs []*river.Job[effectArgs]) error {
			for _, job := range jobs {
				if job.Args.Value == refusedValue {
					return poison()
				}
			}
			return writeEffects(ctx, tx, jobs)
		})
		if name == "data" {
			kind.Salvage = func(context.Context, pgx.Tx, []*river.Job[effectArgs]) error { return nil }
		}
		e := New(pool, testOptions(), kind)
		workAll(t, e, runningJobs(t, pool, 40, 3, 4, 20))
		if s := e.Stats(); s.Circuit != "closed" {
			t.Errorf("%s: circuit is %s after three poisoned jobs of 40, want closed", name, s.Circuit)
		}
		if got := completedJobs(t, pool); got < 37 {
			t.Errorf("%s: completed jobs = %d, want at least 37", name, got)
		}
	}
}
