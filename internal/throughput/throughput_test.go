package throughput

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/test/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

var kinds = []string{"activity_ingest", "acwr_recalc", "acwr_backfill"}

func newRecorder(db dbpool.Querier) *Recorder {
	return NewRecorder(db, dbtest.RiverSchema, slog.New(slog.DiscardHandler))
}

func write(t *testing.T, r *Recorder) time.Duration {
	t.Helper()
	into, err := r.Write(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return into
}

func execute(t *testing.T, pool *dbpool.Pool, sql string, args ...any) {
	t.Helper()
	if _, err := pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func text(t *testing.T, pool *dbpool.Pool, sql string, args ...any) (got string) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&got); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return got
}

// written reads the table without its buckets: the sums of each kind, and of its
// latencies by bin.
const written = `
SELECT coalesce(string_agg(concat_ws(' ', kind, committed, failed, latencies), '; ' ORDER BY kind), '') FROM (
	SELECT kind, sum(committed) AS committed, sum(failed) AS failed,
	       (SELECT string_agg(concat_ws(':', place, n), ',' ORDER BY place) FROM (
	           SELECT place, sum(n) AS n FROM river.worker_throughput AS same, unnest(same.latencies) WITH ORDINALITY AS each (n, place)
	           WHERE same.kind = t.kind GROUP BY place HAVING sum(n) > 0) AS sums) AS latencies
	FROM river.worker_throughput AS t GROUP BY kind) AS by_kind`

// TestProcessesAddUp: two processes write into the same bucket, one of them twice.
func TestProcessesAddUp(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	one, other := newRecorder(pool), newRecorder(pool)
	for range 3 {
		one.Count("activity_ingest").Committed(20 * time.Millisecond) // in the bin from 16 to 32 ms
	}
	one.Count("acwr_recalc").Failed(2)
	if into := write(t, one); into <= 0 || into > Bucket+time.Second {
		t.Errorf("the server is %v into the bucket, want up to %v", into, Bucket)
	}
	other.Count("activity_ingest").Committed(20 * time.Millisecond)
	other.Count("activity_ingest").Committed(-time.Second)
	other.Count("acwr_recalc").Committed(300 * time.Hour)
	write(t, other)
	one.Count("acwr_recalc").Failed(1)
	write(t, one)
	write(t, one)
	const want = "activity_ingest 5 0 1:1,6:4; acwr_recalc 1 3 25:1"
	if got := text(t, pool, written); got != want {
		t.Errorf("written: %s, want %s", got, want)
	}
	const aligned = `SELECT concat_ws(' ', bool_and(extract(epoch FROM bucket)::bigint % 10 = 0), count(DISTINCT bucket) <= 2, max(bucket) <= now(), max(bucket) > now() - interval '20 seconds') FROM river.worker_throughput`
	if got := text(t, pool, aligned); got != "t t t t" {
		t.Errorf("buckets are aligned, at most two, not in the future and recent: %s, want t t t t", got)
	}
}

// TestKilledProcessLosesNothingWritten: and counts that could not be written are part
// of the next write that succeeds.
func TestKilledProcessLosesNothingWritten(t *testing.T) {
	t.Parallel()
	url := dbtest.MigratedURL(t)
	pool, its := dbtest.Open(t, url), dbtest.Open(t, url)
	killed := newRecorder(its)
	killed.Count("activity_ingest").Committed(time.Second)
	write(t, killed)
	killed.Count("activity_ingest").Committed(time.Second)
	its.Close()
	if _, err := killed.Write(t.Context()); err == nil {
		t.Error("Write = nil after the pool was closed")
	}
	const want = "activity_ingest 1 0 11:1"
	if got := text(t, pool, written); got != want {
		t.Errorf("after the kill: %s, want only what was written before, %s", got, want)
	}

	lives := newRecorder(pool)
	execute(t, pool, `ALTER TABLE river.worker_throughput RENAME TO away`)
	for range maxFailures - 1 {
		lives.Count("activity_ingest").Committed(time.Second)
		if _, err := lives.Write(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "write throughput: ") {
			t.Errorf("Write without the table = %v, want an error", err)
		}
	}
	execute(t, pool, `ALTER TABLE river.away RENAME TO worker_throughput`)
	write(t, lives)
	if got := text(t, pool, written); got != "activity_ingest 3 0 11:3" {
		t.Errorf("after the outage: %s, want the outage's two jobs as well", got)
	}
	execute(t, pool, `ALTER TABLE river.worker_throughput RENAME TO away`)
	for range maxFailures {
		lives.Count("activity_ingest").Committed(time.Second)
		if _, err := lives.Write(t.Context()); err == nil {
			t.Error("Write without the table = nil, want an error")
		}
	}
	execute(t, pool, `ALTER TABLE river.away RENAME TO worker_throughput`)
	lives.Count("activity_ingest").Committed(time.Second)
	write(t, lives)
	if got := text(t, pool, written); got != "activity_ingest 4 0 11:4" {
		t.Errorf("after a long outage: %s, want none of the outage's jobs, which belong to older buckets", got)
	}
}

// counting counts statements.
type counting struct {
	dbpool.Querier
	mu sync.Mutex
	n  int
}

func (c *counting) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return c.Querier.QueryRow(ctx, sql, args...)
}

func TestIdleProcessWritesNothing(t *testing.T) {
	t.Parallel()
	db := &counting{Querier: dbtest.Migrated(t)}
	r := newRecorder(db)
	write(t, r)
	r.Count("activity_ingest").Committed(time.Second)
	write(t, r)
	write(t, r)
	if db.n != 1 {
		t.Errorf("three writes, one with counts, took %d statements, want 1", db.n)
	}
}

// inMemory answers like a server whose clock agrees with this machine's.
type inMemory struct {
	dbpool.Querier
	writes []time.Time
}

func (m *inMemory) QueryRow(context.Context, string, ...any) pgx.Row {
	m.writes = append(m.writes, time.Now())
	return m
}

func (m *inMemory) Scan(into ...any) error {
	*into[0].(*float64) = time.Duration(time.Now().UnixNano() % int64(Bucket)).Seconds()
	return nil
}

// TestOneWriteInEachBucket: and none while no job is worked.
func TestOneWriteInEachBucket(t *testing.T) {
	t.Parallel()
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			db := &inMemory{}
			r := newRecorder(db)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			defer wg.Wait()
			defer cancel()
			wg.Go(func() { r.Run(ctx) })
			time.Sleep(time.Hour)
			if len(db.writes) > 0 {
				t.Fatalf("an idle process wrote %d times", len(db.writes))
			}
			for range 600 {
				time.Sleep(time.Second)
				r.Count("activity_ingest").Committed(time.Second)
			}
			cancel()
			wg.Wait()
			db.writes = db.writes[1:] // the first write's answer gives the server's clock
			for i, at := range db.writes[1:] {
				if before := db.writes[i]; at.UnixNano()/int64(Bucket) != before.UnixNano()/int64(Bucket)+1 {
					t.Fatalf("a write at %v follows one at %v, want one in each bucket", at, before)
				}
			}
			if len(db.writes) < 57 {
				t.Errorf("%d writes in 10 minutes, want about 60", len(db.writes))
			}
		})
	}
}

// TestManyWritersAtOnce: they lose no counts and do not deadlock, whatever order each
// counted in.
func TestManyWritersAtOnce(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	const writers, rounds = 8, 60
	var wg sync.WaitGroup
	for w := range writers {
		r := newRecorder(pool)
		wg.Go(func() {
			for i := range rounds {
				for k := range kinds {
					count := r.Count(kinds[(k+w+i)%len(kinds)])
					count.Committed(time.Duration(w*i) * time.Millisecond)
					count.Failed(1)
				}
				if _, err := r.Write(t.Context()); err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	wg.Wait()
	const sums = `SELECT string_agg(concat_ws(' ', kind, c, f), '; ' ORDER BY kind) FROM (SELECT kind, sum(committed) AS c, sum(failed) AS f FROM river.worker_throughput GROUP BY kind) AS s`
	n := writers * rounds
	want := fmt.Sprintf("activity_ingest %d %[1]d; acwr_backfill %[1]d %[1]d; acwr_recalc %[1]d %[1]d", n)
	if got := text(t, pool, sums); got != want {
		t.Errorf("written: %s, want %s", got, want)
	}
	const equal = `SELECT bool_and(committed = (SELECT sum(n) FROM unnest(latencies) AS n) AND cardinality(latencies) = 25)::text FROM river.worker_throughput`
	if got := text(t, pool, equal); got != "true" {
		t.Error("the number of latencies differs from that of committed jobs")
	}
}

// fullDay fills the table with more than a day of four kinds that are always busy.
const fullDay = `
INSERT INTO river.worker_throughput (bucket, kind, committed, failed, latencies)
SELECT date_bin('10 seconds', now(), timestamptz 'epoch') - i * interval '10 seconds', kind, 100, 1, array_fill(0, array[5]) || array[50, 49, 1] || array_fill(0, array[17])
FROM generate_series(0, 9000) AS i, unnest(array['activity_ingest', 'acwr_recalc', 'acwr_backfill', 'token_refresh']) AS kind`

func lastHour(t *testing.T, pool *dbpool.Pool) (points []Point) {
	t.Helper()
	b := &pgx.Batch{}
	QueueLastHour(b, dbtest.RiverSchema, &points)
	if err := pool.SendBatch(t.Context(), b).Close(); err != nil {
		t.Fatal(err)
	}
	return points
}

func TestLastHour(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	if diff := cmp.Diff(make([]Point, Points), lastHour(t, pool)); diff != "" {
		t.Errorf("of an empty table (-want +got):\n%s", diff)
	}
	execute(t, pool, fullDay)
	// Each bucket has 200 of 16 to 32 ms, 196 of 32 to 64 ms and 4 of 64 to 128 ms.
	want := Point{Committed: 6 * 400, Failed: 6 * 4, Median: 32 * time.Millisecond, P99: 64 * time.Millisecond}
	for i, got := range lastHour(t, pool) {
		if got != want {
			t.Errorf("point %d = %+v, want %+v", i, got, want)
		}
	}
	// The current bucket is not shown, nor buckets older than an hour.
	execute(t, pool, `DELETE FROM river.worker_throughput WHERE bucket < now() - interval '10 minutes'`)
	points := lastHour(t, pool)
	if points[Points-1] != want || points[Points-9] != want || points[0] != (Point{}) || points[Points-12] != (Point{}) {
		t.Errorf("with ten minutes of work: %+v", points)
	}
}

// TestLastHourFollowsTheIndex: only the rows of an hour are read.
func TestLastHourFollowsTheIndex(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	execute(t, pool, fullDay)
	execute(t, pool, `VACUUM ANALYZE river.worker_throughput`)
	for name, q := range map[string]struct {
		sql  string
		args []any
	}{
		"last hour": {queue.Schema(dbtest.RiverSchema).SQL(lastHourQuery), nil},
		"forget":    {Forget(dbtest.RiverSchema), []any{1000}},
	} {
		rows, err := pool.Query(t.Context(), "EXPLAIN (ANALYZE, TIMING OFF) "+q.sql, q.args...)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(lines, "\n")
		if !strings.Contains(plan, "worker_throughput_pkey") || strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "rows=36004") {
			t.Errorf("%s does not follow the key:\n%s", name, plan)
		}
		t.Logf("%s:\n%s", name, plan)
	}
}

// TestForget deletes rows older than a day, in portions, and nothing else.
func TestForget(t *testing.T) {
	t.Parallel()
	pool := dbtest.Migrated(t)
	began := time.Now()
	execute(t, pool, fullDay)
	total := int64(0)
	for deleted := int64(500); deleted == 500; total += deleted {
		tag, err := pool.Exec(t.Context(), Forget(dbtest.RiverSchema), 500)
		if err != nil {
			t.Fatal(err)
		}
		if deleted = tag.RowsAffected(); deleted > 500 {
			t.Errorf("%d rows were deleted at once, want at most 500", deleted)
		}
	}
	const left = `SELECT concat_ws(' ', count(*), min(bucket) >= now() - interval '1 day 1 minute', max(bucket) > now() - interval '1 minute') FROM river.worker_throughput`
	if got := text(t, pool, left); !strings.HasSuffix(got, " t t") || total < 1440 || total > 1440+4*int64(2+time.Since(began)/Bucket) { // an hour, and the rows that passed a day meanwhile
		t.Errorf("%d of 36004 rows were deleted, left are %s", total, got)
	}
}

// TestBins: every latency lies within its bin, and bins have no gaps.
func TestBins(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		latency := time.Duration(rapid.Int64Range(0, int64(4*time.Hour)).Draw(t, "latency"))
		from, to := bounds(latencyBin(latency))
		if latency < from || latency >= to && latencyBin(latency) < bins-1 {
			t.Errorf("%v is in the bin from %v to %v", latency, from, to)
		}
	})
	if got := latencyBin(math.MaxInt64); got != bins-1 {
		t.Errorf("latencyBin(the longest) = %d, want %d", got, bins-1)
	}
	for latencies, want := range map[[3]int64]time.Duration{
		{}:        0,
		{4, 0, 0}: time.Millisecond / 2,
		{0, 2, 2}: 2 * time.Millisecond,
		{1, 0, 3}: 2*time.Millisecond + 2*time.Millisecond/3,
	} {
		if got := quantile(latencies[:], .5); got != want {
			t.Errorf("quantile(%v, 0.5) = %v, want %v", latencies, got, want)
		}
	}
	last := make([]int64, bins)
	last[bins-1] = 5
	if got := quantile(last, .99); got != 8388608*time.Millisecond {
		t.Errorf("quantile of the last bin = %v, want its beginning", got)
	}
}
