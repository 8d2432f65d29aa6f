package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/cli"
)

// scratchDatabase creates a new database on the server of a URL, so that no existing one
// is touched, and returns its URL and a function that drops it.
func scratchDatabase(ctx context.Context, server string) (database string, drop func() error, err error) {
	u, err := url.Parse(server)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return "", nil, cli.Usagef("the demo needs DATABASE_URL as a URL, postgres://…, or unset")
	}
	name := "worker_demo_" + strings.ToLower(rand.Text()[:8])
	u.Path, u.RawPath = "/"+name, ""
	query := u.Query()
	query.Del("dbname") // would overrule the path
	query.Del("database")
	u.RawQuery = query.Encode()
	if c, err := pgx.ParseConfig(u.String()); err != nil || c.Database != name {
		return "", nil, cli.Usagef("the demo cannot find the database's name in DATABASE_URL; unset it to use a private server")
	}
	if err := executeOnce(ctx, server, "CREATE DATABASE "+name); err != nil {
		return "", nil, fmt.Errorf("create a database for the demo on the server of DATABASE_URL: %w; unset DATABASE_URL to use a private server", err)
	}
	drop = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return executeOnce(ctx, server, "DROP DATABASE "+name+" WITH (FORCE)")
	}
	return u.String(), drop, nil
}

// executeOnce runs a statement on a connection of its own.
func executeOnce(ctx context.Context, url, sql string) (err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return dbpool.Concise(err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	_, err = conn.Exec(ctx, sql)
	return err
}
