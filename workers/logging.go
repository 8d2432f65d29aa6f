package workers

import (
	"context"
	"log/slog"

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

// quiet lets River's warnings and errors through. Its informational lines tell
// counts every few seconds, and failures that failureLog tells already.
type quiet struct{ slog.Handler }

// Enabled implements slog.Handler.
func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level != slog.LevelInfo && q.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup implements slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
