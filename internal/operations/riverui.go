package operations

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"riverqueue.com/riverui"
)

const riverPrefix = "/river"

// riverPolicy is what River UI needs: its own scripts, and styles that these
// set on elements.
const riverPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; " +
	"manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// riverUI is River's own UI, with which jobs can be read, retried and
// cancelled. It is not started on purpose: what it would run in the background
// counts every job again and again, whether anyone looks or not. Unstarted it
// counts up to a limit when it is asked.
func riverUI(o Options) (http.Handler, error) {
	ui, err := riverui.NewHandler(&riverui.HandlerOpts{
		Endpoints:                riverui.NewEndpoints(o.Service.Client(), nil),
		JobListHideArgsByDefault: true,
		Logger:                   slog.New(warningsOnly{o.Logger.Handler()}),
		Prefix:                   riverPrefix,
	})
	if err != nil {
		return nil, fmt.Errorf("river ui: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", riverPolicy)
		ui.ServeHTTP(w, r)
	}), nil
}

// warningsOnly leaves out what is said of every request.
type warningsOnly struct{ slog.Handler }

// Enabled implements slog.Handler.
func (h warningsOnly) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (h warningsOnly) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warningsOnly{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h warningsOnly) WithGroup(name string) slog.Handler {
	return warningsOnly{h.Handler.WithGroup(name)}
}
