// Package web is the HTTP server of a worker process: probes, metrics, a
// status page, and River's own UI.
//
// Rule: public endpoints never query the database, and all pages together never use more
// connections than the application's reserve.
package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/workers"
)

// Options say what the server shows, and who may see it.
type Options struct {
	Access Access

	Version     string
	Rounding    string // acwr.rounding, for an athlete's series
	RiverSchema string
	Pool        *dbpool.Pool
	Throttle    Throttle // limits the pages' use of the pool
	Service     *workers.Service
	Watch       *admin.Watch
	Metrics     http.Handler
	Readiness   *Readiness
	Logger      *slog.Logger
}

// Limits of a request. Requests of operators are small and few.
const (
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = time.Minute
	maxHeader      = 16 << 10
	maxBody        = 1 << 20
	shutdownWithin = 200 * time.Millisecond // a part of the grace period
)

// Server serves on a listener until it is shut down.
type Server struct {
	http     *http.Server
	listener net.Listener
}

// Listen opens the address of o.Access and returns a server for it.
func Listen(ctx context.Context, o Options) (*Server, error) {
	handler, streams, err := newHandler(o)
	if err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Access.Listen)
	if err != nil {
		return nil, fmt.Errorf("operations.listen: %w; another worker on this machine needs another port, or port 0", err)
	}
	server := &Server{listener: listener, http: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}}
	server.http.RegisterOnShutdown(streams.end)
	return server, nil
}

// Address returns the address of the listener, with the actual port.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Serve serves until Shutdown.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve operations: %w", err)
	}
	return nil
}

// Shutdown waits a moment for requests under way, then closes the server.
func (s *Server) Shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownWithin)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
}

// newHandler returns the handler of all endpoints, and the streams, which must be
// ended with the server.
func newHandler(o Options) (http.Handler, *streams, error) {
	river, err := riverUI(o)
	if err != nil {
		return nil, nil, err
	}
	pages, err := newPages(o)
	if err != nil {
		return nil, nil, err
	}
	streams := &streams{render: pages.renderParts, next: o.Watch.Changed, logger: o.Logger, places: make(chan struct{}, maxStreams), ended: make(chan struct{})}

	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz)
	mux.Handle("GET /readyz", o.Readiness)
	mux.Handle("GET /metrics", o.Metrics)
	for pattern, h := range map[string]http.Handler{
		"GET /{$}":         http.HandlerFunc(pages.status),
		"GET /events":      streams,
		"GET /act":         o.Throttle.limit(http.HandlerFunc(pages.ask)),
		"POST /act":        o.Throttle.limit(http.HandlerFunc(pages.act)),
		"GET /style.css":   file("style.css", "text/css; charset=utf-8"),
		"GET /live.js":     file("live.js", "text/javascript; charset=utf-8"),
		"GET /athlete":     o.Throttle.limit(http.HandlerFunc(pages.athlete)),
		"GET /athletes":    o.Throttle.limit(http.HandlerFunc(pages.athletes)),
		"GET /athlete.css": file("athlete.css", "text/css; charset=utf-8"),
		"GET /athlete.js":  file("athlete.js", "text/javascript; charset=utf-8"),
		riverPrefix + "/":  o.Throttle.limit(river),
	} {
		mux.Handle(pattern, o.Access.authenticate(h))
	}
	return withHeaders(withLimits(http.NewCrossOriginProtection().Handler(mux))), streams, nil
}

// Throttle lets one request or snapshot at a time use the database. Readiness has a
// connection of its own.
type Throttle struct{ free chan struct{} }

const (
	throttleWait = 2 * time.Second
	throttleTime = 10 * time.Second
)

// NewThrottle returns a throttle with one place: the application's reserve without the
// connection of readiness.
func NewThrottle() Throttle { return Throttle{make(chan struct{}, 1)} }

// Lock implements sync.Locker.
func (t Throttle) Lock() { t.free <- struct{}{} }

// Unlock implements sync.Locker.
func (t Throttle) Unlock() { <-t.free }

// limit makes requests wait at most throttleWait for a place, and bounds them by
// throttleTime.
func (t Throttle) limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case t.free <- struct{}{}:
		case <-r.Context().Done():
			return
		case <-time.After(throttleWait):
			w.Header().Set("Retry-After", "2")
			http.Error(w, "busy, try again", http.StatusServiceUnavailable)
			return
		}
		defer t.Unlock()
		ctx, cancel := context.WithTimeout(r.Context(), throttleTime)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
