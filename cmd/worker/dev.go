package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/trainingmonkey/worker/internal/cli"
	"github.com/trainingmonkey/worker/internal/localpg"
)

func devCommand(p *cli.Program) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run a worker on a private database that is kept, until Ctrl-C",
		Long: "Start a private PostgreSQL whose data stays, migrate it, and work its queues until Ctrl-C.\n" +
			"It prints the DATABASE_URL for other commands. With DATABASE_URL set it works on that database instead.",
		Example: "  worker dev\n" +
			"  worker dev --dir ./dev-database",
		RunE: func(c *cobra.Command, _ []string) error {
			return dev(c.Context(), dir, p)
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "`directory` of the database (default in the user's cache)")
	return c
}

func dev(ctx context.Context, dir string, p *cli.Program) (err error) {
	settings, err := cli.LoadConfig(p.ConfigFile)
	if err != nil {
		return err
	}
	logger := cli.NewLogger(settings.Log, p.Err)
	if err := checkBudget(settings); err != nil {
		return err
	}
	pages, err := newAdminServer(settings, logger)
	if err != nil {
		return err
	}
	pages.announce = p
	url := settings.DatabaseURL
	if url != "" && dir != "" {
		return cli.Usagef("--dir names a database and DATABASE_URL another; unset DATABASE_URL or leave out --dir")
	}
	if url == "" {
		if dir == "" {
			if dir, err = devDirectory(); err != nil {
				return err
			}
		}
		server, local, err := startLocal(ctx, dir, logger)
		if errors.Is(err, localpg.ErrCannotBeEntered) {
			return fmt.Errorf("%w; give another with --dir, as /var/lib/worker-dev", err)
		}
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stopLocal(ctx, server)) }()
		url = local
		p.Printf("PostgreSQL runs in %s. In another terminal:\n\n  export DATABASE_URL='%s'\n\n", dir, url)
	}
	pool, err := openMigrated(ctx, settings, url, "worker dev", pages.tracer())
	if err != nil {
		return err
	}
	defer pool.CloseWithin(closeTime)
	service, err := newService(ctx, pool, settings, logger, pages.observe())
	if err != nil {
		return err
	}
	server, err := serverName(ctx, pool)
	if err != nil {
		return err
	}
	p.Printf("migrated %s; working until Ctrl-C\n", server)
	return pages.work(ctx, pool, service, false)
}
