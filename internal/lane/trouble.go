package lane

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trainingmonkey/worker/dbpool"
)

const (
	// maxRaces is how many turns with a job may meet a race before it is no
	// accident: a trigger may be dropping rows.
	maxRaces = 3
	// maxRaced bounds the memory of jobs that met races, some of which other
	// processes complete.
	maxRaced = 100_000
	// postponement is the delay of a job that met another transaction's lock.
	postponement = 2 * time.Second
	// maxOvertime is how often an isolated job may exceed the transaction's timeout.
	maxOvertime = 3
)

// raceIsJob reports whether a race that these jobs meet counts as an error of one of them.
func (l *Lane[T]) raceIsJob(jobs []*Job[T]) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(jobs, func(j *Job[T]) bool { return l.raced[j.ID] > maxRaces })
}

const queryCanceled = "57014"

// isRace reports whether the transaction needs another one's commit that it cannot
// see, or a statement was cancelled because it took too long. If that recurs, a
// job may be the cause.
func isRace(err error) bool {
	var pgErr *pgconn.PgError
	return errors.Is(err, dbpool.ErrRaced) || (errors.As(err, &pgErr) && pgErr.Code == queryCanceled)
}

// isTimeout reports whether a statement was cancelled because it took too long.
func isTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || dbpool.SQLState(err) == queryCanceled
}

const lockNotAvailable = "55P03"

// isLockTimeout reports whether another transaction kept a row or a table locked
// for too long for the whole batch to wait.
func isLockTimeout(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.Code == lockNotAvailable
}

// isBlocked reports, once, whether a job met another transaction's lock.
func (l *Lane[T]) isBlocked(id int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer delete(l.blocked, id)
	return l.blocked[id]
}

func (l *Lane[T]) isOvertime(id int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.overtime[id] >= maxOvertime
}

// ended counts a transaction and adapts the next claim to it.
func (l *Lane[T]) ended(t *turn[T], found int, took time.Duration, err error) {
	if before, left := t.left(err); left {
		l.mu.Lock()
		l.setBack(t.loop, t.origin.share, before)
		l.mu.Unlock()
	}
	if found > 0 || err != nil {
		l.counts.transactions.Add(1)
		l.options.Observer.Transacted(Transaction{Jobs: len(t.completed), Failures: len(t.failures), Took: took, RoundTrips: t.tx.roundTrips, Savepoints: t.tries, Err: err})
	}
	if err != nil {
		l.countTrouble(t, err)
		return
	}
	if found <= 0 {
		return
	}
	l.mu.Lock()
	if t.waited > contentionAfter {
		l.contended = time.Now().Add(contentionFor)
	}
	for _, f := range t.failures {
		delete(l.overtime, f.Job.ID)
		delete(l.raced, f.Job.ID)
	}
	if len(l.raced) > 0 {
		for _, job := range t.completed {
			delete(l.raced, job.ID)
		}
	}
	l.mu.Unlock()
	l.counts.committed.Add(int64(len(t.completed)))
	now := l.options.Now()
	for _, job := range t.completed {
		l.options.Observer.Committed(now.Sub(job.CreatedAt))
	}
	l.countFailures(t)
	if len(t.jobs) > 0 {
		l.fit(t.loop, len(t.jobs), t.leftOver, took-t.waited)
	}
}

func (l *Lane[T]) countTrouble(t *turn[T], err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cursors[t.loop].resetNewest()
	switch {
	case isRace(err):
		if len(l.raced) > maxRaced {
			clear(l.raced)
		}
		for _, job := range t.jobs {
			l.raced[job.ID]++
		}
	case isLockTimeout(err):
		l.size = max(1, min(l.size, len(t.jobs))/8)
		if len(t.jobs) == 1 {
			l.blocked[t.jobs[0].ID] = true
		}
	case errors.Is(err, context.DeadlineExceeded):
		l.size = max(1, min(l.size, len(t.jobs))/2)
		if len(t.jobs) == 1 {
			l.overtime[t.jobs[0].ID]++
		}
	}
}

func (l *Lane[T]) countFailures(t *turn[T]) {
	for _, f := range t.failures {
		l.counts.failed.Add(1)
		state := f.State()
		switch state {
		case "cancelled":
			l.counts.cancelled.Add(1)
		case "discarded":
			l.counts.discarded.Add(1)
		}
		attributes := []any{
			slog.Int64("job_id", f.Job.ID), slog.String("kind", f.Job.Kind), slog.Int("attempt", f.Job.Attempt+1),
			slog.String("then", string(state)), slog.String("error", f.Err.Error()),
		}
		if f.Trace != "" {
			attributes = append(attributes, slog.String("stack", f.Trace))
		}
		l.options.Logger.Warn("job failed", attributes...)
	}
}

const (
	// maxTransientWait is the max wait before a retry after a transient error.
	maxTransientWait = time.Second
	// maxFaultWait is the max wait before a retry after a fault of the lane.
	maxFaultWait = 5 * time.Second
	// loggedEvery is the min interval between logs of the same trouble.
	loggedEvery = 10 * time.Second
)

// afterError logs the error that ended a transaction and returns how long to wait.
func (l *Lane[T]) afterError(ctx context.Context, err error, failed int) time.Duration {
	fault := &Fault{}
	maxWait := maxTransientWait
	l.counts.retries.Add(1)
	if !errors.As(err, &fault) && dbpool.Classify(err) != dbpool.Transient {
		fault = &Fault{err}
	}
	l.mu.Lock()
	if fault.Err != nil {
		l.fault, l.faultAt, maxWait = fault, time.Now(), maxFaultWait
	}
	logs := time.Since(l.logged) > loggedEvery && (fault.Err != nil || failed > 3)
	if logs {
		l.logged = time.Now()
	}
	l.mu.Unlock()
	attributes := []any{slog.String("queue", l.options.Queue), slog.Int("tries", failed), slog.String("error", err.Error())}
	switch {
	case logs && fault.Err != nil:
		l.options.Logger.ErrorContext(ctx, "queue stands still: what fails would fail for every job; no attempt is spent", attributes...)
	case logs:
		l.options.Logger.WarnContext(ctx, "transaction failed, will try again; no attempt is spent", attributes...)
	}
	if isLockTimeout(err) {
		failed = 1 // it has already waited, and the next claim is smaller
	}
	wait := min(maxWait, 10*time.Millisecond<<min(failed, 12))
	return wait/4 + rand.N(wait*3/4)
}

// worked clears the lane's fault. An empty turn soon after it proves nothing:
// another loop may have claimed the jobs that fail.
func (l *Lane[T]) worked(ctx context.Context, found int) {
	l.mu.Lock()
	was := l.fault
	if found == 0 && time.Since(l.faultAt) < 2*maxFaultWait {
		was = nil
	} else {
		l.fault = nil
	}
	l.mu.Unlock()
	if was != nil {
		l.options.Logger.InfoContext(ctx, "queue goes on", slog.String("queue", l.options.Queue))
	}
}
