// Package web is the HTTP server of a worker process: probes, metrics, a
// page to look at, and River's own UI.
//
// Rule: what may be asked by anyone never asks the database, and everything
// together never holds more connections than the application's reserve.
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

// Options are what the server shows, and to whom.
type Options struct {
	Access Access

	Version     string
	Rounding    string // acwr.rounding, for an athlete's series
	RiverSchema string
	Pool        *dbpool.Pool
	Turn        Turn // with which pages use the pool
	Service     *workers.Service
	Overview    *admin.Watch
	Metrics     http.Handler
	Readiness   *Readiness
	Logger      *slog.Logger
}

// Limits of a request. An operator's requests are small and few.
const (
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = time.Minute
	maxHeader      = 16 << 10
	maxBody        = 1 << 20
	shutdownWithin = 200 * time.Millisecond // part of the grace period, and pages can wait
)

// Server serves on a listener until it is shut down.
type Server struct {
	http     *http.Server
	listener net.Listener
}

// Listen opens the address of o.Access and prepares what is served there.
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

// Address is where the server listens, with the port that it got.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Serve serves until Shutdown.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve operations: %w", err)
	}
	return nil
}

// Shutdown lets requests under way finish, for a moment.
func (s *Server) Shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownWithin)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
}

// newHandler is everything that the server serves, and what is to be ended with it.
func newHandler(o Options) (http.Handler, *streams, error) {
	river, err := riverUI(o)
	if err != nil {
		return nil, nil, err
	}
	pages, err := newPages(o)
	if err != nil {
		return nil, nil, err
	}
	streams := newStreams(pages.renderParts, o.Overview.Changed, o.Logger)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", healthz)
	mux.Handle("GET /readyz", o.Readiness)
	mux.Handle("GET /metrics", o.Metrics)
	for pattern, h := range map[string]http.Handler{
		"GET /{$}":         http.HandlerFunc(pages.status),
		"GET /events":      streams,
		"GET /act":         o.Turn.of(http.HandlerFunc(pages.ask)),
		"POST /act":        o.Turn.of(http.HandlerFunc(pages.act)),
		"GET /style.css":   file("style.css", "text/css; charset=utf-8"),
		"GET /live.js":     file("live.js", "text/javascript; charset=utf-8"),
		"GET /athlete":     o.Turn.of(http.HandlerFunc(pages.athlete)),
		"GET /athletes":    o.Turn.of(http.HandlerFunc(pages.athletes)),
		"GET /athlete.css": file("athlete.css", "text/css; charset=utf-8"),
		"GET /athlete.js":  file("athlete.js", "text/javascript; charset=utf-8"),
		riverPrefix + "/":  o.Turn.of(river),
	} {
		mux.Handle(pattern, o.Access.guard(h))
	}
	return withHeaders(withLimits(http.NewCrossOriginProtection().Handler(mux))), streams, nil
}

// Turn lets one at a time use the database, for what is not the work of queues.
// Only readiness has a connection besides.
type Turn struct{ free chan struct{} }

const (
	turnWait = 2 * time.Second
	turnTime = 10 * time.Second
)

// NewTurn shares out the one connection that is neither queue work's nor readiness's.
func NewTurn() Turn { return Turn{make(chan struct{}, 1)} }

// Lock implements sync.Locker.
func (t Turn) Lock() { t.free <- struct{}{} }

// Unlock implements sync.Locker.
func (t Turn) Unlock() { <-t.free }

// of gives each request a turn of bounded time, or tells it to come again.
func (t Turn) of(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case t.free <- struct{}{}:
		case <-r.Context().Done():
			return
		case <-time.After(turnWait):
			w.Header().Set("Retry-After", "2")
			http.Error(w, "busy, try again", http.StatusServiceUnavailable)
			return
		}
		defer t.Unlock()
		ctx, cancel := context.WithTimeout(r.Context(), turnTime)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
