package metrics

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/trainingmonkey/worker/dbpool"
)

// Tracer measures statements, connecting and waiting for connections.
type Tracer struct {
	slow   time.Duration
	logger *slog.Logger

	durations *prometheus.HistogramVec
	slowCount *prometheus.CounterVec
	acquires  prometheus.Histogram
	timeouts  prometheus.Counter
	faults    *prometheus.CounterVec

	mu         sync.RWMutex
	statements map[string]*statement
}

// statement has the instruments of one name, of a statement or a batch.
type statement struct {
	name     string
	duration prometheus.Observer
	slow     prometheus.Counter

	mu         sync.Mutex
	logged     time.Time // when it was logged last
	suppressed int       // slow executions since then
}

const (
	// maxStatements bounds the names. This program has fewer; the bound is for
	// libraries that use the pool.
	maxStatements  = 200
	otherStatement = "other"
	// logInterval is the min interval between logs of the same slow statement.
	logInterval = 10 * time.Second
)

func newTracer(slow time.Duration, logger *slog.Logger) *Tracer {
	t := &Tracer{
		slow: slow, logger: logger, statements: map[string]*statement{},
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "statement_duration_seconds", Help: "Time from sending a statement, or the statements of a batch, to the last row, by the names in their comments.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2, 10},
		}, []string{"statement"}),
		slowCount: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "statements_slow_total", Help: "Statements and batches of them that took longer than operations.slow_query.",
		}, []string{"statement"}),
		acquires: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "pool_acquire_seconds", Help: "Time that callers waited for a connection of the pool.",
			Buckets: []float64{.0001, .001, .005, .02, .1, .5, 1, 5, 10},
		}),
		timeouts: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "pool_acquire_timeouts_total", Help: "Callers that got no connection in time.",
		}),
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "connection_errors_total", Help: "Connections that could not be made (connect) or were lost under a statement (statement).",
		}, []string{"during"}),
	}
	for _, during := range []string{"connect", "statement"} {
		t.faults.WithLabelValues(during)
	}
	return t
}

// span is a statement, batch or acquisition under way. It is itself a context,
// which saves an allocation per statement.
type span struct {
	context.Context
	name  string
	since time.Time
	ended bool
}

type spanKey struct{}

// Value implements context.Context.
func (s *span) Value(key any) any {
	if key == (spanKey{}) {
		return s
	}
	return s.Context.Value(key)
}

func currentSpan(ctx context.Context) *span {
	s, _ := ctx.Value(spanKey{}).(*span)
	return s
}

// TraceQueryStart implements pgx.QueryTracer.
func (t *Tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	return &span{Context: ctx, name: statementName(data.SQL), since: time.Now()}
}

// TraceQueryEnd implements pgx.QueryTracer.
func (t *Tracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	t.observe(ctx, data.Err)
}

// TraceBatchStart implements pgx.BatchTracer. A batch is measured as a whole: PostgreSQL
// sends small results once the last statement has ended, so that all the time would seem to
// be that of the first. pg_stat_statements knows the time of each.
func (t *Tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	return &span{Context: ctx, name: batchName(data.Batch), since: time.Now()}
}

// TraceBatchQuery implements pgx.BatchTracer.
func (t *Tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd implements pgx.BatchTracer. pgx calls it twice for a batch that could not be sent.
func (t *Tracer) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchEndData) {
	t.observe(ctx, data.Err)
}

// TraceConnectStart implements pgx.ConnectTracer.
func (t *Tracer) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return ctx
}

// TraceConnectEnd implements pgx.ConnectTracer.
func (t *Tracer) TraceConnectEnd(_ context.Context, data pgx.TraceConnectEndData) {
	if data.Err != nil {
		t.faults.WithLabelValues("connect").Inc()
	}
}

// TraceAcquireStart implements pgxpool.AcquireTracer.
func (t *Tracer) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	return &span{Context: ctx, since: time.Now()}
}

// TraceAcquireEnd implements pgxpool.AcquireTracer.
func (t *Tracer) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, data pgxpool.TraceAcquireEndData) {
	if s := currentSpan(ctx); s != nil {
		t.acquires.Observe(time.Since(s.since).Seconds())
	}
	if errors.Is(data.Err, context.DeadlineExceeded) {
		t.timeouts.Inc()
	}
}

// observe records how long a statement or batch took, never its arguments.
func (t *Tracer) observe(ctx context.Context, err error) {
	current := currentSpan(ctx)
	if current == nil || current.ended {
		return
	}
	current.ended = true
	took := time.Since(current.since)
	s := t.statement(current.name)
	s.duration.Observe(took.Seconds())
	if err != nil && dbpool.LostConnection(err) && !errors.Is(err, context.DeadlineExceeded) {
		t.faults.WithLabelValues("statement").Inc()
	}
	if took < t.slow {
		return
	}
	s.slow.Inc()
	s.mu.Lock()
	s.suppressed++
	times := s.suppressed
	due := time.Since(s.logged) >= logInterval
	if due {
		s.logged, s.suppressed = time.Now(), 0
	}
	s.mu.Unlock()
	if due {
		t.logger.WarnContext(ctx, "slow statement", slog.String("statement", s.name), slog.Duration("took", took), slog.Int("times", times))
	}
}

// statement returns the instruments of a name.
func (t *Tracer) statement(name string) *statement {
	t.mu.RLock()
	s, full := t.statements[name], len(t.statements) >= maxStatements
	t.mu.RUnlock()
	if s != nil {
		return s
	}
	if full && name != otherStatement {
		return t.statement(otherStatement)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s = t.statements[name]; s == nil {
		s = &statement{name: name, duration: t.durations.WithLabelValues(name), slow: t.slowCount.WithLabelValues(name)}
		t.statements[name] = s
	}
	return s
}

// maxNames bounds the names of a batch. Only batches that prepare or probe all statements of
// a lane, and the snapshot's, have more.
const maxNames = 10

// batchName returns the names of a batch's statements, each once, joined by +. Those that
// have none, such as SAVEPOINT, are left out, and those beyond maxNames are "more".
func batchName(b *pgx.Batch) string {
	var names []string
	for _, q := range b.QueuedQueries {
		name := statementName(q.SQL)
		if name == otherStatement || slices.Contains(names, name) {
			continue
		}
		if len(names) == maxNames {
			names = append(names, "more")
			break
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return otherStatement
	}
	return strings.Join(names, "+")
}

// statementName returns the name at the beginning of a statement, in the format of
// sqlc, which River also uses:
//
//	-- name: lock_users
//
// The statements that begin and end a transaction are named by their first word.
func statementName(sql string) string {
	sql = strings.TrimLeft(sql, " \t\r\n")
	if rest, ok := strings.CutPrefix(sql, "-- name: "); ok {
		end := strings.IndexFunc(rest, func(r rune) bool {
			return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		})
		if end > 0 {
			return rest[:end]
		}
	}
	word, _, _ := strings.Cut(sql, " ")
	switch word {
	case "begin", "commit", "rollback":
		return word
	}
	return otherStatement
}
