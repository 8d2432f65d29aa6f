package refresh

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/tokens"
)

// Options of a Refresher. All are required.
type Options struct {
	ClientID string        // of this process, for leases
	Workers  int           // requests to the provider at once
	Lease    time.Duration // how long other processes may not refresh the user; longer than a request and a save
	Limits   tokens.Limits
	Logger   *slog.Logger
}

// Refresher refreshes users' tokens. A process has one: all jobs share its
// workers, its connection for leases and its connection for saves.
type Refresher struct {
	store    *tokens.Store
	provider *Provider
	options  Options
	asking   chan struct{} // one place per concurrent request
	leasing  chan struct{} // one place for the connection for leases
	saving   chan struct{} // one place for the connection for saves, so that these do not wait for leases
	stopping chan struct{}
	stopOnce sync.Once
	counts   counters
}

// New returns a Refresher.
func New(store *tokens.Store, provider *Provider, o Options) *Refresher {
	return &Refresher{
		store: store, provider: provider, options: o,
		asking: make(chan struct{}, o.Workers), leasing: make(chan struct{}, 1), saving: make(chan struct{}, 1), stopping: make(chan struct{}),
	}
}

// Stop prevents further requests; the answers to those in progress are stored. Refresh
// returns once they are.
func (r *Refresher) Stop() { r.stopOnce.Do(func() { close(r.stopping) }) }

// Result counts the outcomes of the users of one Refresh.
type Result struct {
	Refreshed, Fresh, Marked, Absent, Failed int

	Wait  time.Duration // until the users who are left can be tried; 0 if none is left, or if unknown
	Left  int           // users who wait for another process, for the provider's limits or for another worker
	First error         // error of those that failed
}

// Refresh refreshes the users whose tokens are not fresh enough. It stops between users
// when ctx ends; a refresh in progress is finished.
func (r *Refresher) Refresh(ctx context.Context, users []int32, wanted tokens.Wanted) (Result, error) {
	remaining, result, err := r.selectDue(ctx, users, wanted)
	if err != nil {
		return result, err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, user := range remaining {
		if !r.place(ctx) {
			mu.Lock()
			result.Left += len(remaining) - i
			mu.Unlock()
			break
		}
		wg.Go(func() {
			defer func() { <-r.asking }()
			one := r.refreshOne(ctx, user, wanted)
			mu.Lock()
			defer mu.Unlock()
			result.add(one)
		})
	}
	wg.Wait()
	return result, nil
}

// place waits for a free worker; false if the refresher stops first.
func (r *Refresher) place(ctx context.Context) bool {
	select {
	case <-r.stopping:
		return false
	default:
	}
	select {
	case r.asking <- struct{}{}:
		return true
	case <-ctx.Done():
	case <-r.stopping:
	}
	return false
}

// selectDue loads all users in one query and returns those that need a refresh, which is
// checked again under the lock.
func (r *Refresher) selectDue(ctx context.Context, users []int32, wanted tokens.Wanted) (remaining []int32, result Result, err error) {
	if err := exclusively(ctx, r.leasing, func() (err error) {
		var loaded tokens.Loaded
		if loaded, err = r.store.Load(ctx, users); err != nil {
			return err
		}
		for _, token := range loaded.Tokens {
			switch {
			case token.Reauthorize != "":
				result.Marked++
			case wanted.Within > 0 && token.ExpiresAt.Sub(loaded.At) > wanted.Within:
				result.Fresh++
			default:
				remaining = append(remaining, token.UserID)
			}
		}
		for _, unreadable := range loaded.Unreadable {
			remaining = append(remaining, unreadable.UserID) // will fail, with an audit row
		}
		result.Absent = len(loaded.Missing)
		return nil
	}); err != nil {
		return nil, Result{}, err
	}
	r.counts.fresh.Add(int64(result.Fresh))
	return remaining, result, nil
}

// exclusively runs fn while it occupies place, which stands for one connection.
func exclusively(ctx context.Context, place chan struct{}, fn func() error) error {
	select {
	case place <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-place }()
	return fn()
}

// busyWait is how long a user whom another process refreshes is left before the next
// check. It is shorter than the lease, which only expires if that process dies.
const busyWait = 2 * time.Second

// refreshOne is refresh with a panic turned into a failure of the user: in a goroutine
// a panic would end the process and all its work.
func (r *Refresher) refreshOne(ctx context.Context, user int32, wanted tokens.Wanted) (result Result) {
	defer func() {
		if v := recover(); v != nil {
			r.counts.failed.Add(1)
			r.options.Logger.ErrorContext(ctx, "panic while tokens were refreshed", slog.Int64("user_id", int64(user)), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
			result = Result{Failed: 1, First: fmt.Errorf("user %d: panic: %v", user, v)}
		}
	}()
	return r.refresh(ctx, user, wanted)
}

// refresh refreshes one user: lease, request, save.
func (r *Refresher) refresh(ctx context.Context, user int32, wanted tokens.Wanted) Result {
	var lease tokens.Lease
	var status tokens.LeaseStatus
	var wait time.Duration
	by := r.options.ClientID + "/" + rand.Text()[:10]
	err := exclusively(ctx, r.leasing, func() (err error) {
		lease, status, wait, err = r.store.Lease(ctx, user, wanted, by, r.options.Lease, r.options.Limits)
		return err
	})
	if unreadable := (*tokens.UnreadableError)(nil); errors.As(err, &unreadable) {
		return r.fail(ctx, tokens.Operation{UserID: user, Failure: &tokens.Failure{Reason: unreadable.Error()}}, 0)
	}
	switch {
	case err != nil:
		r.counts.failed.Add(1)
		return Result{Failed: 1, First: err}
	case status == tokens.Fresh:
		r.counts.fresh.Add(1)
		return Result{Fresh: 1}
	case status == tokens.Marked:
		return Result{Marked: 1}
	case status == tokens.Absent:
		return Result{Absent: 1}
	case status == tokens.Busy:
		return Result{Left: 1, Wait: min(wait, busyWait)}
	case status == tokens.Limited:
		return Result{Left: 1, Wait: wait}
	}
	answer := r.provider.Refresh(ctx, lease.Refresh)
	op := tokens.Operation{
		UserID: user, Used: lease.Refresh, Lease: by, UserAgent: r.provider.userAgent,
		Details: map[string]any{"status": answer.Status},
	}
	if answer.Kind == Given {
		return r.keep(ctx, op, answer)
	}
	op.Failure = &tokens.Failure{Reason: answer.Reason, AnswerMayBeLost: answer.Kind == Lost || (lease.AnswerLost && answer.Kind != Refused)}
	switch answer.Kind {
	case Refused:
		op.Failure.Reauthorize = tokens.Refused
		if lease.AnswerLost {
			op.Failure.Reauthorize = tokens.AnswerLost
			op.Failure.Reason += "; an earlier refresh with it was cut off before its answer was stored, and what the provider gave then is lost"
		}
	case Throttled:
		if err := exclusively(ctx, r.leasing, func() error { return r.store.Pause(ctx, answer.RetryAfter) }); err != nil {
			r.options.Logger.WarnContext(ctx, "could not record that the provider throttles; other processes may still send requests", slog.String("error", err.Error()))
		}
	}
	return r.fail(ctx, op, answer.RetryAfter)
}

// keep stores the provider's tokens.
func (r *Refresher) keep(ctx context.Context, op tokens.Operation, answer Answer) Result {
	op.Access, op.Refresh, op.ExpiresAt = answer.Access, cmp.Or(answer.Refresh, op.Used), answer.ExpiresAt
	refusal, err := r.save(ctx, op)
	switch {
	case err == nil && refusal == nil:
		r.counts.refreshed.Add(1)
		return Result{Refreshed: 1}
	case err == nil && (errors.Is(refusal, tokens.ErrSuperseded) || errors.Is(refusal, tokens.ErrMissing)):
		r.counts.superseded.Add(1)
		return Result{Fresh: 1} // the user has authorized again, or is gone
	}
	r.counts.failed.Add(1)
	err = fmt.Errorf("tokens of user %d are given by the provider and not stored: %w", op.UserID, errors.Join(err, refusal))
	r.options.Logger.ErrorContext(ctx, "tokens not stored", slog.Int64("user_id", int64(op.UserID)), slog.String("error", err.Error()))
	return Result{Failed: 1, First: err}
}

// fail records a failure.
func (r *Refresher) fail(ctx context.Context, op tokens.Operation, retryAfter time.Duration) Result {
	refusal, err := r.save(ctx, op)
	r.counts.failed.Add(1)
	switch {
	case err != nil:
		return Result{Failed: 1, First: err}
	case errors.Is(refusal, tokens.ErrSuperseded):
		return Result{Fresh: 1} // newer tokens have been stored
	case op.Failure.Reauthorize != "" && refusal == nil:
		r.counts.marked.Add(1)
		r.options.Logger.WarnContext(ctx, "user has to authorize again",
			slog.Int64("user_id", int64(op.UserID)), slog.String("reason", op.Failure.Reason))
		return Result{Marked: 1}
	case retryAfter > 0:
		return Result{Left: 1, Wait: retryAfter}
	}
	return Result{Failed: 1, First: fmt.Errorf("user %d: %s", op.UserID, op.Failure.Reason)}
}

// saveTimeout bounds one try of a save, a transaction with its retries.
const saveTimeout = 8 * time.Second

// save stores an operation, and retries until it is stored or ctx ends, because no other
// process has the answer. It makes at least one try, and the end of ctx does not
// interrupt a try.
func (r *Refresher) save(ctx context.Context, op tokens.Operation) (refusal, err error) {
	for try := 1; ; try++ {
		var outcomes []error
		err := exclusively(context.WithoutCancel(ctx), r.saving, func() (err error) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
			defer cancel()
			outcomes, err = r.store.Save(ctx, []tokens.Operation{op})
			return err
		})
		if err == nil {
			return outcomes[0], nil
		}
		if try == 2 {
			r.options.Logger.WarnContext(ctx, "tokens not stored yet, will try again",
				slog.Int64("user_id", int64(op.UserID)), slog.String("error", err.Error()))
		}
		if dbpool.Backoff(ctx, try) != nil {
			return nil, err
		}
	}
}

func (r *Result) add(o Result) {
	r.Refreshed += o.Refreshed
	r.Fresh += o.Fresh
	r.Marked += o.Marked
	r.Absent += o.Absent
	r.Failed += o.Failed
	r.Left += o.Left
	r.Wait = max(r.Wait, o.Wait)
	r.First = cmp.Or(r.First, o.First)
}
