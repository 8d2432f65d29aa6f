package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/admin"
	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/config"
	"github.com/trainingmonkey/worker/internal/metrics"
	"github.com/trainingmonkey/worker/internal/queue"
	"github.com/trainingmonkey/worker/internal/web"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/workers"
)

// operator is what a worker has for its operator: metrics and a server. With
// operations.listen empty it has nothing and costs nothing.
type operator struct {
	settings config.Config
	access   web.Access
	metrics  *metrics.Metrics // nil when there is no server
	logger   *slog.Logger

	// announce, where it is set, is where the page's address is printed. Any port
	// will do then: where the configured one is taken, a free one is.
	announce io.Writer
}

// newOperator refuses to show pages to whoever asks.
func newOperator(settings config.Config, logger *slog.Logger) (*operator, error) {
	o := &operator{settings: settings, logger: logger, access: accessOf(settings)}
	if o.access.Listen == "" {
		return o, nil
	}
	if err := o.access.Check(); err != nil {
		return nil, &cli.UsageError{Err: err}
	}
	o.metrics = metrics.New(cli.Version(), settings.Operations.SlowQuery, logger)
	return o, nil
}

func accessOf(settings config.Config) web.Access {
	return web.Access{Listen: settings.Operations.Listen, User: settings.Operations.User, Password: settings.Operations.Password}
}

// tracer is for the pool, nil for none.
func (o *operator) tracer() pgx.QueryTracer {
	if o.metrics == nil {
		return nil
	}
	return o.metrics.Tracer()
}

// observe is for the service, nil for none.
func (o *operator) observe() workers.Observe {
	if o.metrics == nil {
		return nil
	}
	return o.metrics.Observer
}

// overviewTimeout bounds one reading of the whole database.
const overviewTimeout = 5 * time.Second

// during serves while work goes on, and until it has ended: a worker that
// drains says so.
func (o *operator) during(ctx context.Context, pool *dbpool.Pool, service *workers.Service, work func() error) error {
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer end()
	if o.metrics == nil {
		wg.Go(func() { tellSystemd(ctx, background, func() bool { return true }, o.logger) })
		return work()
	}
	turn := web.NewTurn()
	watch := admin.NewWatch(pool, admin.Options{
		RiverSchema: o.settings.River.Schema,
		Queues:      workers.QueueNames(),
		Kinds:       jobs.Kinds(),
		DeadAfter:   queue.DeadAfter,
		Timeout:     overviewTimeout,
		Gate:        turn,
	}, o.logger)
	readiness := web.NewReadiness(pool, o.settings.River.Schema, service, o.logger)
	o.metrics.Connect(metrics.Sources{Pool: pool.Stat, Service: service, Overview: watch, Ready: readiness.Ready})
	options := web.Options{
		Access: o.access, Version: cli.Version(), Rounding: o.settings.ACWR.Rounding, RiverSchema: o.settings.River.Schema,
		Pool: pool, Turn: turn,
		Service: service, Overview: watch, Metrics: o.metrics.Handler(),
		Readiness: readiness, Logger: o.logger,
	}
	server, err := web.Listen(ctx, options)
	if host, _, splitErr := net.SplitHostPort(options.Access.Listen); o.announce != nil && errors.Is(err, syscall.EADDRINUSE) && splitErr == nil {
		options.Access.Listen = net.JoinHostPort(host, "0")
		server, err = web.Listen(ctx, options)
	}
	if err != nil {
		return err
	}
	if o.announce != nil {
		_, _ = fmt.Fprintf(o.announce, "the status page is at http://%s/\n", server.Address())
	}
	o.logger.InfoContext(ctx, "operations are served", slog.String("address", server.Address()))

	wg.Go(func() { tellSystemd(ctx, background, readiness.Ready, o.logger) })
	wg.Go(func() { readiness.Run(background) })
	wg.Go(func() { watch.Run(background) })
	wg.Go(func() {
		if err := server.Serve(); err != nil {
			o.logger.ErrorContext(background, "probes and pages are gone", slog.String("error", err.Error()))
		}
	})
	err = work()
	server.Shutdown(ctx)
	return err
}
