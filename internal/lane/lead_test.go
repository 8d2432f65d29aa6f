package lane

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// underWay counts a lane's open transactions; each stays open until it may end.
type underWay struct{ now, maxSeen atomic.Int32 }

func (u *underWay) kind(mayEnd func() bool) Kind[effectArgs] {
	kind := effectKind()
	apply := kind.Apply
	kind.Apply = func(ctx context.Context, tx pgx.Tx, first *pgx.Batch, batch []*Job[effectArgs]) (Writes, error) {
		now := u.now.Add(1)
		defer u.now.Add(-1)
		for maxSeen := u.maxSeen.Load(); now > maxSeen && !u.maxSeen.CompareAndSwap(maxSeen, now); maxSeen = u.maxSeen.Load() {
		}
		for !mayEnd() && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		return apply(ctx, tx, first, batch)
	}
	return kind
}

// running runs a lane until the test ends.
func running[T any](t *testing.T, l *Lane[T]) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
}

// ends records when transactions ended.
type ends struct {
	watcher
	at []time.Time
}

func (e *ends) Transacted(t Transaction) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.at = append(e.at, time.Now())
}

// TestGathers: after a turn that left no job behind, the next one waits, although a job
// arrived meanwhile and woke the lane.
func TestGathers(t *testing.T) {
	t.Parallel()
	const turns = 20
	pool := effectsDatabase(t)
	o, ended := testOptions(t), &ends{}
	o.Loops, o.Aim, o.Observer = 1, time.Minute, ended // so that a slow machine does not count as a backlog
	kind := effectKind()
	apply := kind.Apply
	var began []time.Time
	var l *Lane[effectArgs]
	kind.Apply = func(ctx context.Context, tx pgx.Tx, first *pgx.Batch, batch []*Job[effectArgs]) (Writes, error) {
		if began = append(began, time.Now()); len(began) < turns {
			insert(t, pool, 1)
			l.Wake()
		}
		return apply(ctx, tx, first, batch)
	}
	l = New(pool, o, kind)
	insert(t, pool, 1)
	running(t, l)
	until(t, func() bool { return ask[string](t, pool, jobStates) == "20 completed attempt 1 errors 0" })
	ended.mu.Lock()
	defer ended.mu.Unlock()
	for i := 1; i < turns; i++ {
		if gap := began[i].Sub(ended.at[i-1]); gap < gatherTime {
			t.Errorf("turn %d worked %v after the previous one ended, want at least %v", i, gap, gatherTime)
		}
	}
}

// TestLongTransaction: later jobs do not wait for it.
func TestLongTransaction(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	var work underWay
	l := New(pool, testOptions(t), work.kind(func() bool { return work.maxSeen.Load() == 2 }))
	running(t, l)
	insert(t, pool, 1)
	until(t, func() bool { return work.now.Load() == 1 })
	insert(t, pool, 1)
	l.Wake()
	until(t, func() bool { return ask[string](t, pool, jobStates) == "2 completed attempt 1 errors 0" })
}

// TestBacklogTakesAllLoops: all loops work as soon as a claim leaves jobs behind.
func TestBacklogTakesAllLoops(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 10)
	o := testOptions(t)
	o.Loops, o.MaxJobs = 3, 1
	var work underWay
	running(t, New(pool, o, work.kind(func() bool { return work.maxSeen.Load() == 3 })))
	until(t, func() bool { return ask[string](t, pool, jobStates) == "10 completed attempt 1 errors 0" })
}

// TestProcessesShareSlots: under a backlog, two processes together have no more open
// transactions than one.
func TestProcessesShareSlots(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 40)
	o := testOptions(t)
	o.MaxJobs = 1
	var work underWay
	aWhile := func() bool {
		time.Sleep(5 * time.Millisecond)
		return true
	}
	for range 2 {
		running(t, New(pool, o, work.kind(aWhile)))
	}
	until(t, func() bool { return ask[string](t, pool, jobStates) == "40 completed attempt 1 errors 0" })
	if maxSeen := work.maxSeen.Load(); int(maxSeen) > o.Loops {
		t.Errorf("%d transactions at once, want at most %d", maxSeen, o.Loops)
	}
}

// TestOneProcessKeepsTheSlots: under a backlog, the slots stay with the loops of one
// process, whose sessions and caches are warm, instead of spreading over all.
func TestOneProcessKeepsTheSlots(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	const amount = 200
	insert(t, pool, amount)
	o := testOptions(t)
	o.MaxJobs = 1
	var lanes []*Lane[effectArgs]
	for range 3 {
		var work underWay
		lanes = append(lanes, New(pool, o, work.kind(func() bool {
			time.Sleep(20 * time.Millisecond)
			return true
		})))
		running(t, lanes[len(lanes)-1])
	}
	until(t, func() bool { return ask[string](t, pool, jobStates) == "200 completed attempt 1 errors 0" })
	var committed []int64
	for _, l := range lanes {
		committed = append(committed, l.Stats().Committed)
	}
	if highest := slices.Max(committed); highest < amount*3/4 {
		t.Errorf("the processes worked %v jobs, want one of them to have worked three quarters", committed)
	}
}

// TestSlotsPassOn: when the process that has the slots ends, another gets all of them.
func TestSlotsPassOn(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	insert(t, pool, 2000)
	o := testOptions(t)
	o.MaxJobs = 1
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	first := New(pool, o, effectKind())
	go func() {
		defer close(ended)
		first.Run(ctx)
	}()
	until(t, func() bool { return first.Stats().Committed > 10 })
	var work underWay
	second := New(pool, o, work.kind(func() bool { return work.maxSeen.Load() == 2 }))
	running(t, second)
	stop()
	<-ended
	left := time.Now()
	until(t, func() bool { return work.maxSeen.Load() == 2 })
	if took := time.Since(left); took > 10*maxSlotWait { // on an idle machine within one maxSlotWait
		t.Errorf("both loops of the other process worked after %v, want at most %v", took, 10*maxSlotWait)
	}
}

// countedDB counts the transactions begun.
type countedDB struct {
	DB
	begun atomic.Int32
}

func (db *countedDB) BeginTx(ctx context.Context, o pgx.TxOptions) (pgx.Tx, error) {
	db.begun.Add(1)
	return db.DB.BeginTx(ctx, o)
}

// TestIdleLaneOnlyChecks: a lane that nobody wakes begins no transaction until a job
// waits, and finds that job.
func TestIdleLaneOnlyChecks(t *testing.T) {
	t.Parallel()
	pool := effectsDatabase(t)
	db := &countedDB{DB: pool}
	l := New(db, testOptions(t), effectKind())
	running(t, l)
	idle := func() {
		t.Helper()
		var seen time.Time
		until(t, func() bool { // two checks in a row that began nothing
			before := db.begun.Load()
			for range 2 {
				was := l.Status().LastClaim
				until(t, func() bool { seen = l.Status().LastClaim; return seen.After(was) })
			}
			return db.begun.Load() == before
		})
	}
	idle()
	insert(t, pool, 3)
	until(t, func() bool { return ask[string](t, pool, jobStates) == "3 completed attempt 1 errors 0" })
	idle()
}
