package main

import (
	"context"
	"errors"
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
	"github.com/trainingmonkey/worker/internal/web"
	"github.com/trainingmonkey/worker/jobs"
	"github.com/trainingmonkey/worker/workers"
)

// adminServer serves metrics, probes and pages. If operations.listen is empty it does
// nothing.
type adminServer struct {
	settings config.Config
	access   web.Access
	metrics  *metrics.Metrics // nil without a server
	logger   *slog.Logger

	// announce, if set, prints the page's address, and a free port is used if the
	// configured one is taken.
	announce *cli.Program
}

// newAdminServer returns an error if pages would be public.
func newAdminServer(settings config.Config, logger *slog.Logger) (*adminServer, error) {
	o := &adminServer{settings: settings, logger: logger, access: webAccess(settings)}
	if o.access.Listen == "" {
		return o, nil
	}
	if err := o.access.Check(); err != nil {
		return nil, &cli.UsageError{Err: err}
	}
	o.metrics = metrics.New(cli.Version(), settings.Operations.SlowQuery, logger)
	return o, nil
}

func webAccess(settings config.Config) web.Access {
	return web.Access{Listen: settings.Operations.Listen, User: settings.Operations.User, Password: settings.Operations.Password}
}

// tracer returns the tracer for the pool, nil for none.
func (o *adminServer) tracer() pgx.QueryTracer {
	if o.metrics == nil {
		return nil
	}
	return o.metrics.Tracer()
}

// observe returns the observers for the service, nil for none.
func (o *adminServer) observe() workers.Observe {
	if o.metrics == nil {
		return nil
	}
	return o.metrics.Observer
}

// snapshotTimeout bounds one reading of the whole database.
const snapshotTimeout = 5 * time.Second

// work runs the service, with drain only until the queues are empty, and serves
// until the service has stopped.
func (o *adminServer) work(ctx context.Context, pool *dbpool.Pool, service *workers.Service, drain bool) error {
	background, end := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer end()
	if o.metrics == nil {
		wg.Go(func() { notifySystemd(ctx, background, func() bool { return true }, o.logger) })
		return workQueues(ctx, service, drain, o.logger)
	}
	throttle := web.NewThrottle()
	watch := admin.NewWatch(pool, admin.Options{
		RiverSchema: o.settings.River.Schema,
		Queues:      workers.QueueNames(),
		Kinds:       jobs.Kinds(),
		Timeout:     snapshotTimeout,
		Throttle:    throttle,

		WorkerConnections: o.settings.ServerConnections(),
	}, o.logger)
	readiness := web.NewReadiness(pool, o.settings.River.Schema, service, o.logger)
	o.metrics.Connect(pool.Stat, service, watch, readiness.Ready)
	options := web.Options{
		Access: o.access, Version: cli.Version(), Rounding: o.settings.ACWR.Rounding, RiverSchema: o.settings.River.Schema,
		Pool: pool, Throttle: throttle,
		Service: service, Watch: watch, Metrics: o.metrics.Handler(),
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
		o.announce.Printf("the status page is at http://%s/\n", server.Address())
	}
	o.logger.InfoContext(ctx, "serving probes, metrics and pages", slog.String("address", server.Address()))

	wg.Go(func() { notifySystemd(ctx, background, readiness.Ready, o.logger) })
	wg.Go(func() { readiness.Run(background) })
	wg.Go(func() { watch.Run(background) })
	wg.Go(func() {
		if err := server.Serve(); err != nil {
			o.logger.ErrorContext(background, "probes and pages are gone", slog.String("error", err.Error()))
		}
	})
	err = workQueues(ctx, service, drain, o.logger)
	server.Shutdown(ctx)
	return err
}
