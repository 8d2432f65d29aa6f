//go:build chaos

package chaos

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/test/dbtest"
)

// steadyRate is how many jobs a second the load enqueues.
const steadyRate = 200

// load enqueues like the application, and records what was acknowledged.
type load struct {
	pool     *dbpool.Pool
	enqueuer *jobs.Enqueuer
	rate     atomic.Int64 // jobs a second
	cancel   context.CancelFunc
	done     chan struct{}

	mu    sync.Mutex
	acked []int64
}

func startLoad(t *testing.T, url string) *load {
	t.Helper()
	o := dbtest.Options(url)
	o.MaxConns, o.AcquireTimeout, o.ConnectTimeout = 4, time.Second, time.Second
	pool, err := dbpool.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	enqueuer, err := jobs.NewEnqueuer(pool.Pool, dbtest.RiverSchema)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{pool: pool, enqueuer: enqueuer, cancel: cancel, done: make(chan struct{})}
	l.rate.Store(steadyRate)
	go l.run(ctx)
	t.Cleanup(l.stop)
	return l
}

func (l *load) stop() {
	l.cancel()
	<-l.done
}

// run enqueues some jobs every tick. A job that cannot be enqueued is dropped, as it
// was not acknowledged.
func (l *load) run(ctx context.Context) {
	defer close(l.done)
	const tick = 20 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	random := rand.New(rand.NewPCG(1, 2))
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		args := make([]jobs.ActivityIngest, max(1, int(l.rate.Load()*int64(tick)/int64(time.Second))))
		for i := range args {
			args[i] = randomJob(random)
		}
		l.enqueue(args)
	}
}

func (l *load) enqueue(args []jobs.ActivityIngest) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var ids []int64
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) (err error) {
		ids, err = l.enqueuer.IngestTx(ctx, tx, jobs.PriorityLive, args...)
		return err
	})
	if err == nil {
		l.mu.Lock()
		l.acked = append(l.acked, ids...)
		l.mu.Unlock()
	}
}

func (l *load) acknowledged() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]int64(nil), l.acked...)
}

const (
	loadUsers      = 40
	loadActivities = 2000
)

// randomJob has one activity, sometimes several of overlapping users; edits, moves and
// deletes follow from repeated ids.
func randomJob(random *rand.Rand) jobs.ActivityIngest {
	n := 1
	if random.IntN(20) == 0 {
		n = 1 + random.IntN(20)
	}
	var job jobs.ActivityIngest
	for range n {
		job.Activities = append(job.Activities, randomActivity(random))
	}
	return job
}

func randomActivity(random *rand.Rand) jobs.Activity {
	id := 1 + random.Int64N(loadActivities)
	day := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, random.IntN(120))
	a := jobs.Activity{ActivityID: id, UserID: int32(id%loadUsers) + 1, Date: day.Format(time.DateOnly)}
	if random.IntN(15) == 0 {
		a.Deleted = true
		return a
	}
	load, trimp := float64(random.IntN(2000))/100, float64(random.IntN(20000))/100
	a.TotalLoadMiles, a.Trimp = &load, &trimp
	return a
}
