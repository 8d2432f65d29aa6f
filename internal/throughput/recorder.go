package throughput

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
)

const (
	// writeTimeout bounds a write, including the wait for a connection.
	writeTimeout = 5 * time.Second
	// maxFailures is the number of consecutive failed writes after which the unwritten
	// counts are dropped, because a much later bucket would show work that was not done
	// then.
	maxFailures = 3
)

// Recorder adds its process's counts to the table.
type Recorder struct {
	db        dbpool.Querier
	statement string
	logger    *slog.Logger
	counts    map[string]*Count

	mu        sync.Mutex
	unwritten map[string]*counts
	failures  int // consecutive failed writes
}

// NewRecorder returns a recorder that counts nothing yet.
func NewRecorder(db dbpool.Querier, riverSchema string, logger *slog.Logger) *Recorder {
	return &Recorder{db: db, statement: queue.Schema(riverSchema).SQL(writeQuery), logger: logger, counts: map[string]*Count{}, unwritten: map[string]*counts{}}
}

// Count returns the counter of a kind, which all lanes of the kind share.
func (r *Recorder) Count(kind string) *Count {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts[kind] == nil {
		r.counts[kind], r.unwritten[kind] = &Count{}, &counts{}
	}
	return r.counts[kind]
}

// Run writes once in each bucket until ctx ends. Processes write at different moments,
// and never near a bucket's end: two writes in one bucket and none in the next would show
// as uneven work.
func (r *Recorder) Run(ctx context.Context) {
	moment := Bucket/10 + rand.N(Bucket*8/10)
	failing := false
	for wait := rand.N(Bucket); ; {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		into, err := r.Write(ctx)
		wait = Bucket
		switch {
		case err != nil && ctx.Err() == nil && !failing:
			r.logger.WarnContext(ctx, "throughput not written, will try again", slog.String("error", err.Error()))
		case err == nil && into > 0:
			wait += moment - into
		}
		failing = err != nil
	}
}

// writeQuery adds to the rows of the current bucket, by the server's clock. It writes in
// key order, so that concurrent writers cannot deadlock. The latencies of all kinds are
// one array, because unnest turns a two-dimensional one into single numbers. It returns
// how far into the bucket the server is.
var writeQuery = `
-- name: write_throughput
INSERT INTO {schema}.worker_throughput AS t (bucket, kind, committed, failed, latencies)
SELECT date_bin('10 seconds', now(), timestamptz 'epoch'), kind, committed, failed, ($4::integer[])[(place - 1) * ` + strconv.Itoa(bins) + ` + 1 : place * ` + strconv.Itoa(bins) + `]
FROM unnest($1::text[], $2::integer[], $3::integer[]) WITH ORDINALITY AS done (kind, committed, failed, place)
ORDER BY kind
ON CONFLICT (bucket, kind) DO UPDATE SET committed = t.committed + excluded.committed, failed = t.failed + excluded.failed,
	latencies = ` + forEachBin("t.latencies[%d] + excluded.latencies[%d]") + `
RETURNING extract(epoch FROM clock_timestamp() - bucket)::float8`

// Write writes the unwritten counts, if any. It returns how far into the bucket the
// server was, 0 if unknown. After an error the next write includes the counts; if the
// failed write was committed and only its answer was lost, they count twice.
func (r *Recorder) Write(ctx context.Context) (into time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var kinds []string
	var committed, failed, latencies []int64
	for _, kind := range slices.Sorted(maps.Keys(r.counts)) {
		sum := r.unwritten[kind]
		r.counts[kind].take(sum)
		if sum.committed == 0 && sum.failed == 0 {
			continue
		}
		kinds, committed, failed = append(kinds, kind), append(committed, sum.committed), append(failed, sum.failed)
		latencies = append(latencies, sum.latencies[:]...)
	}
	if len(kinds) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var seconds float64
	if err := r.db.QueryRow(ctx, r.statement, kinds, committed, failed, latencies).Scan(&seconds); err != nil {
		if r.failures++; r.failures%maxFailures == 0 {
			r.clear()
		}
		return 0, fmt.Errorf("write throughput: %w", err)
	}
	r.failures = 0
	r.clear()
	return time.Duration(seconds * float64(time.Second)), nil
}

func (r *Recorder) clear() {
	for _, sum := range r.unwritten {
		*sum = counts{}
	}
}
