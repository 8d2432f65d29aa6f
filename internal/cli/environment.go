package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/jackc/pgx/v5"
	"golang.org/x/term"

	"github.com/trainingmonkey/worker/dbpool"
	"github.com/trainingmonkey/worker/internal/config"
)

// LoadConfig reads the configuration; every error is a UsageError.
func LoadConfig(file string) (config.Config, error) {
	c, err := config.Load(file, os.Environ())
	if err != nil {
		return c, &UsageError{err}
	}
	return c, nil
}

// OpenPool opens the configured database, with a tracer unless that is nil. The error says
// what to do next.
func OpenPool(ctx context.Context, c config.Config, application string, tracer pgx.QueryTracer) (*dbpool.Pool, error) {
	pool, err := dbpool.Open(ctx, dbpool.Options{
		URL:                      c.DatabaseURL,
		ApplicationName:          application,
		MaxConns:                 int32(c.Database.MaxConns),
		ConnectTimeout:           config.ConnectTimeout,
		AcquireTimeout:           c.Database.AcquireTimeout,
		StatementTimeout:         c.Database.StatementTimeout,
		LockTimeout:              config.LockTimeout,
		IdleInTransactionTimeout: c.Database.IdleInTransactionTimeout,
		Tracer:                   tracer,
	})
	if err == nil {
		return pool, nil
	}
	if ctx.Err() != nil {
		return nil, err
	}
	if errors.Is(err, dbpool.ErrAddress) {
		return nil, Usagef("DATABASE_URL or a PG* variable: %w", err)
	}
	if c.DatabaseURL == "" && os.Getenv("PGHOST") == "" && os.Getenv("PGDATABASE") == "" {
		return nil, fmt.Errorf("%w\nDATABASE_URL is not set; set it, or start a development database with: worker dev", err)
	}
	return nil, fmt.Errorf("%w\ncheck that the server runs and that DATABASE_URL (or the PG* variables) is correct", err)
}

// NewLogger returns the configured logger on w.
func NewLogger(c config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // info if unknown
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" || (c.Format == "auto" && !IsTerminal(w)) {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// RequireTokenKeys returns an error if no keys are configured to encrypt tokens with.
func RequireTokenKeys(c config.Config) error {
	if c.TokenKeys != nil {
		return nil
	}
	return Usagef("TMWORKER_TOKEN_KEYS is not set, so tokens cannot be worked on; set it to id:base64 of 32 random bytes, as: export TMWORKER_TOKEN_KEYS=\"k1:$(openssl rand -base64 32)\"")
}
