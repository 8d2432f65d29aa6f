package workers

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// failureLog logs each failed attempt.
type failureLog struct{ logger *slog.Logger }

// HandleError implements river.ErrorHandler.
func (l *failureLog) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	l.logger.WarnContext(ctx, "job failed",
		slog.Int64("job_id", job.ID), slog.String("kind", job.Kind), slog.Int("attempt", job.Attempt),
		slog.Bool("last_attempt", job.Attempt >= job.MaxAttempts), slog.String("error", err.Error()))
	return nil
}

// HandlePanic implements river.ErrorHandler. The middleware turns panics into
// errors before River sees them.
func (l *failureLog) HandlePanic(ctx context.Context, job *rivertype.JobRow, panicVal any, trace string) *river.ErrorHandlerResult {
	l.logger.ErrorContext(ctx, "job panicked outside the middleware",
		slog.Int64("job_id", job.ID), slog.String("kind", job.Kind), slog.Any("panic", panicVal), slog.String("stack", trace))
	return nil
}

// rateLimited logs each of River's warnings and errors at most once per repeatInterval,
// because without a database River logs several a second. It suppresses River's
// informational lines: counts every few seconds, failures that failureLog logs already,
// and requests to its UI.
type rateLimited struct {
	slog.Handler
	logged *loggedTimes
}

// loggedTimes remembers when a message was logged last.
type loggedTimes struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// repeatInterval is the min interval between logs of the same message from River.
const repeatInterval = 10 * time.Second

// RiverLogger returns the logger for River, or for its UI.
func RiverLogger(logger *slog.Logger) *slog.Logger {
	return slog.New(rateLimited{logger.Handler(), &loggedTimes{last: map[string]time.Time{}}})
}

// Enabled implements slog.Handler.
func (q rateLimited) Enabled(ctx context.Context, level slog.Level) bool {
	return level != slog.LevelInfo && q.Handler.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (q rateLimited) Handle(ctx context.Context, r slog.Record) error {
	q.logged.mu.Lock()
	again := r.Time.Sub(q.logged.last[r.Message]) < repeatInterval
	if !again {
		q.logged.last[r.Message] = r.Time
	}
	q.logged.mu.Unlock()
	if again && r.Level > slog.LevelDebug {
		return nil
	}
	return q.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (q rateLimited) WithAttrs(attrs []slog.Attr) slog.Handler {
	return rateLimited{q.Handler.WithAttrs(attrs), q.logged}
}

// WithGroup implements slog.Handler.
func (q rateLimited) WithGroup(name string) slog.Handler {
	return rateLimited{q.Handler.WithGroup(name), q.logged}
}
