package workers

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// failureLog says of each failed attempt what an operator has to know.
type failureLog struct{ logger *slog.Logger }

// HandleError implements river.ErrorHandler.
func (l *failureLog) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	l.logger.WarnContext(ctx, "job failed",
		slog.Int64("job_id", job.ID), slog.String("kind", job.Kind), slog.Int("attempt", job.Attempt),
		slog.Bool("last_attempt", job.Attempt >= job.MaxAttempts), slog.String("error", err.Error()))
	return nil
}

// HandlePanic implements river.ErrorHandler. The guard turns panics into errors
// before River sees them.
func (l *failureLog) HandlePanic(ctx context.Context, job *rivertype.JobRow, panicVal any, trace string) *river.ErrorHandlerResult {
	l.logger.ErrorContext(ctx, "job panicked outside the guard",
		slog.Int64("job_id", job.ID), slog.String("kind", job.Kind), slog.Any("panic", panicVal), slog.String("stack", trace))
	return nil
}

// quiet lets River's warnings and errors through, each at most once in a while:
// with the database gone River tells several a second. Its informational lines
// tell counts every few seconds, and failures that failureLog tells already.
type quiet struct {
	slog.Handler
	told *toldTimes
}

// toldTimes remembers when a message was told last.
type toldTimes struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// repeatInterval is how often the same message of River's is told.
const repeatInterval = 10 * time.Second

func newQuiet(h slog.Handler) quiet {
	return quiet{h, &toldTimes{last: map[string]time.Time{}}}
}

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level != slog.LevelInfo && q.Handler.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	q.told.mu.Lock()
	again := r.Time.Sub(q.told.last[r.Message]) < repeatInterval
	if !again {
		q.told.last[r.Message] = r.Time
	}
	q.told.mu.Unlock()
	if again && r.Level > slog.LevelDebug {
		return nil
	}
	return q.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quiet{q.Handler.WithAttrs(attrs), q.told}
}

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler {
	return quiet{q.Handler.WithGroup(name), q.told}
}
