package workers

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// guard stands around every job. River's completer writes error texts in bulk:
// one that PostgreSQL refuses, for a NUL byte say, would block the completion
// of every other job of this process for good. So panics become errors, and
// error texts lose their NULs.
func guard(logger *slog.Logger) rivertype.Middleware {
	return river.WorkerMiddlewareFunc(func(ctx context.Context, job *rivertype.JobRow, work func(context.Context) error) (err error) {
		defer func() {
			if value := recover(); value != nil {
				logger.ErrorContext(ctx, "job panicked",
					slog.Int64("job_id", job.ID), slog.String("kind", job.Kind),
					slog.Any("panic", value), slog.String("stack", string(debug.Stack())))
				err = fmt.Errorf("panic: %v", value)
			}
			if err != nil && !storable(err.Error()) {
				err = storableError{err}
			}
		}()
		return work(ctx)
	})
}

// storableError is an error whose text PostgreSQL takes. It unwraps, so that
// cancel and snooze still match.
type storableError struct{ cause error }

func (e storableError) Error() string { return withoutNUL(e.cause.Error()) }
func (e storableError) Unwrap() error { return e.cause }

func storable(s string) bool { return strings.IndexByte(s, 0) < 0 }

func withoutNUL(s string) string { return strings.ReplaceAll(s, "\x00", "␀") }
