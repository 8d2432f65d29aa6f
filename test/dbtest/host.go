package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trainingmonkey/worker/internal/localpg"
)

// emptyTemplate accepts no connections, and so, unlike the default template1, can
// always be copied.
const emptyTemplate = "template0"

// fastSettings trade durability, which no test database needs, for speed. Tests of
// durability use Server.
var fastSettings = map[string]string{
	"fsync":              "off",
	"synchronous_commit": "off",
	"full_page_writes":   "off",
	"max_connections":    "500",
}

// host is a server on which databases are created.
type host struct {
	admin   string          // URL of the database to connect to for CREATE and DROP
	private *localpg.Server // nil if DATABASE_URL names the server

	creating  sync.Mutex // PostgreSQL sometimes refuses concurrent copies of a template
	mu        sync.Mutex
	templates map[string]*template
}

// openHost starts a private server unless url names one.
func openHost(ctx context.Context, url string) (*host, error) {
	h := &host{admin: url, templates: make(map[string]*template)}
	if url != "" {
		_, err := withDatabase(url, emptyTemplate)
		return h, err
	}
	s, err := localpg.Start(ctx, localpg.Options{Settings: fastSettings})
	if err != nil {
		return nil, err
	}
	h.private, h.admin = s, s.URL("")
	return h, nil
}

// create creates a database as a copy of a template and returns its URL.
func (h *host) create(ctx context.Context, template string) (string, error) {
	// The name is random, because other processes use the same server.
	name := "test_" + strings.ToLower(rand.Text())
	url, err := withDatabase(h.admin, name)
	if err != nil {
		return "", err
	}
	if err := h.createDatabase(ctx, name, template); err != nil {
		return "", fmt.Errorf("create test database: %w", err)
	}
	return url, nil
}

// createDatabase retries while the template seems to be in use: the backend of a closed
// connection takes a moment to end.
func (h *host) createDatabase(ctx context.Context, name, template string) error {
	h.creating.Lock()
	defer h.creating.Unlock()
	for attempt := 1; ; attempt++ {
		err := h.exec(ctx, "CREATE DATABASE "+quote(name)+" TEMPLATE "+quote(template))
		var pgErr *pgconn.PgError
		if !errors.As(err, &pgErr) {
			return err
		}
		switch {
		case pgErr.Code == "42501": // insufficient_privilege
			return fmt.Errorf("the role of DATABASE_URL needs CREATEDB, see ALTER ROLE: %w", err)
		case pgErr.Code != "55006" || attempt == 5: // object_in_use
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(time.Duration(attempt) * 100 * time.Millisecond):
		}
	}
}

// drop drops the database of url, which create returned.
func (h *host) drop(ctx context.Context, url string) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return err
	}
	if err := h.exec(ctx, "DROP DATABASE IF EXISTS "+quote(config.Database)+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop test database %s: %w", config.Database, err)
	}
	return nil
}

// exec runs one statement on its own connection; tests are too few for a pool to pay.
func (h *host) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, h.admin)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, sql)
	return errors.Join(err, conn.Close(context.WithoutCancel(ctx)))
}

// close stops the private server, or drops the templates from the named one.
func (h *host) close(ctx context.Context) error {
	if h.private != nil {
		return h.private.Stop(ctx)
	}
	return h.dropTemplates(ctx)
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
