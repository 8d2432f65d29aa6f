// Package config has every setting of the worker: defaults, then config.yaml
// decoded strictly over them, then the environment. Settings are validated once
// and passed on as values.
//
// Rule: an invalid setting is an error that names file, line and key. Nothing is guessed,
// and no secret is read from the file: the database's address comes from DATABASE_URL or
// the PG* variables, the keys and the client's secret from variables of their own.
package config

import (
	"fmt"
	"strings"
	"time"

	"github.com/trainingmonkey/worker/internal/tokens"
)

// Limits of every connection that have no key. DATABASE_URL can override them.
const (
	// ConnectTimeout is after how long a server that does not answer counts as down.
	ConnectTimeout = 5 * time.Second
	// LockTimeout bounds a wait for a lock. One that is held for longer belongs to
	// a forgotten transaction.
	LockTimeout = 5 * time.Second
)

// Config has every setting. Default returns the values of config.yaml.
type Config struct {
	Database   Database
	River      River
	Batching   Batching
	ACWR       ACWR
	Backfill   Backfill
	Tokens     Tokens
	Operations Operations
	Shutdown   Shutdown
	Log        Log

	// DatabaseURL is the environment's DATABASE_URL, a secret. If empty, the
	// PG* variables apply.
	DatabaseURL string

	// TokenKeys are the keys of the environment's TMWORKER_TOKEN_KEYS, which
	// are secret. If nil, no tokens are read or written.
	TokenKeys *tokens.Keyring
	// TokensClientSecret is the environment's TMWORKER_TOKENS_CLIENT_SECRET.
	TokensClientSecret string
}

// Database limits the one pool of a process.
type Database struct {
	MaxConns                 int
	AcquireTimeout           time.Duration
	StatementTimeout         time.Duration
	IdleInTransactionTimeout time.Duration
}

// River configures the queue client.
type River struct {
	Schema             string
	PollOnly           bool
	FetchPollInterval  time.Duration
	CompletedRetention time.Duration
	JobStatusRetention time.Duration
}

// Batching tunes the transactions of the lanes.
type Batching struct {
	MaxJobs            int
	Loops              int
	TransactionTimeout time.Duration

	// These have no key. MaxActivities bounds the activities, or date ranges, of one
	// transaction, and so its time and memory. BulkActivities bounds those of bulk
	// transactions while there are live jobs, which they must not delay.
	MaxActivities  int
	BulkActivities int
}

// ACWR has the settings by which results are computed.
type ACWR struct {
	Write          string
	RolloutPercent int
	Rounding       string
}

// Backfill limits the resources that backfills use in a process.
type Backfill struct {
	Workers   int
	ChunkRows int
}

// Operations says where the operator's pages are. User and Password come from
// the environment alone.
type Operations struct {
	Listen         string
	SlowQuery      time.Duration
	User, Password string
}

// Tokens says how tokens are refreshed at the provider.
type Tokens struct {
	TokenURL       string
	ClientID       string
	RefreshEvery   time.Duration
	Workers        int
	HTTPTimeout    time.Duration
	LimitQuarter   int
	LimitDay       int
	AuditRetention time.Duration // 0: for ever
}

// Shutdown bounds the time between SIGTERM and the end of the process.
type Shutdown struct {
	Grace time.Duration
}

// Log says what is logged, and how.
type Log struct {
	Level  string
	Format string
}

// Default returns the settings of the config.yaml that ships.
func Default() Config {
	c := Config{Batching: Batching{MaxActivities: 3000, BulkActivities: 500}}
	for _, s := range c.settings() {
		if err := s.set(s.standard); err != nil {
			panic("default of " + s.key + " " + err.Error()) // fails every test
		}
	}
	return c
}

// settings lists every key with its default, the field that it sets and its limits.
func (c *Config) settings() []setting {
	return []setting{
		{"database.max_conns", "25", count(&c.Database.MaxConns, 4, 1000)},
		{"database.acquire_timeout", "5s", duration(&c.Database.AcquireTimeout, 100*time.Millisecond, 5*time.Minute)},
		{"database.statement_timeout", "60s", duration(&c.Database.StatementTimeout, time.Second, time.Hour)},
		{"database.idle_in_transaction_timeout", "5s", duration(&c.Database.IdleInTransactionTimeout, time.Second, time.Hour)},
		{"river.schema", "river", schemaName(&c.River.Schema)},
		{"river.poll_only", "false", boolean(&c.River.PollOnly)},
		{"river.fetch_poll_interval", "1s", duration(&c.River.FetchPollInterval, 10*time.Millisecond, time.Hour)},
		{"river.completed_retention", "1h", zeroOr(&c.River.CompletedRetention, duration(&c.River.CompletedRetention, time.Minute, 90*24*time.Hour))},
		{"river.job_status_retention", "168h", duration(&c.River.JobStatusRetention, time.Minute, 365*24*time.Hour)},
		{"batching.max_jobs", "1500", count(&c.Batching.MaxJobs, 1, 5000)},
		{"batching.loops", "2", count(&c.Batching.Loops, 1, 64)},
		{"batching.transaction_timeout", "8s", duration(&c.Batching.TransactionTimeout, 100*time.Millisecond, time.Minute)},
		{"acwr.write", "on", choice(&c.ACWR.Write, "off", "compare", "on")},
		{"acwr.rollout_percent", "100", count(&c.ACWR.RolloutPercent, 0, 100)},
		{"acwr.rounding", "none", choice(&c.ACWR.Rounding, "none", "app")},
		{"backfill.workers", "2", count(&c.Backfill.Workers, 1, 64)},
		{"backfill.chunk_rows", "5000", count(&c.Backfill.ChunkRows, 1, 100_000)},
		{"operations.listen", "127.0.0.1:8080", address(&c.Operations.Listen)},
		{"operations.slow_query", "500ms", duration(&c.Operations.SlowQuery, time.Millisecond, time.Hour)},
		{"tokens.token_url", "https://www.strava.com/oauth/token", webAddress(&c.Tokens.TokenURL)},
		{"tokens.client_id", "", line(&c.Tokens.ClientID)},
		{"tokens.refresh_every", "5m", duration(&c.Tokens.RefreshEvery, time.Second, 24*time.Hour)},
		{"tokens.workers", "4", count(&c.Tokens.Workers, 1, 64)},
		{"tokens.http_timeout", "10s", duration(&c.Tokens.HTTPTimeout, 100*time.Millisecond, time.Minute)},
		{"tokens.limit_quarter", "100", count(&c.Tokens.LimitQuarter, 1, 1_000_000)},
		{"tokens.limit_day", "1000", count(&c.Tokens.LimitDay, 1, 100_000_000)},
		{"tokens.audit_retention", "17520h", duration(&c.Tokens.AuditRetention, 0, 100*365*24*time.Hour)},
		{"shutdown.grace", "25s", duration(&c.Shutdown.Grace, time.Second, time.Hour)},
		{"log.level", "info", choice(&c.Log.Level, "debug", "info", "warn", "error")},
		{"log.format", "auto", choice(&c.Log.Format, "auto", "text", "json")},
	}
}

// gone are keys of earlier versions, with what replaces each.
var gone = map[string]string{
	"database.application_reserve": "two connections are kept for what is not queue work",
	"database.connect_timeout":     "connect_timeout in DATABASE_URL or PGCONNECT_TIMEOUT, 5s without them",
	"database.lock_timeout":        "lock_timeout in DATABASE_URL, 5s without it",
	"batching.max_activities":      "a transaction takes at most 3000 activities, and max_jobs jobs",
	"batching.bulk_activities":     "a transaction of bulk input takes at most 500 activities while live jobs come",
	"tokens.refresh_before":        "tokens are refreshed that expire within 30m",
	"tokens.lease":                 "a lease lasts six times tokens.http_timeout",
	"tokens.save_batch":            "each refreshed token is saved at once, in a transaction of its own",
	"tokens.save_linger":           "each refreshed token is saved at once, in a transaction of its own",
}

// SoftStop is how long jobs may go on after SIGTERM before their contexts end: the
// grace period without the time for a last transaction and for deregistering.
func (c *Config) SoftStop() time.Duration {
	return c.Shutdown.Grace - c.Batching.TransactionTimeout - 2*time.Second
}

// Listeners returns how many connections of a worker listen, beside those of the pool: one
// for its lanes and one of River, unless they only poll.
func (c *Config) Listeners() int {
	if c.River.PollOnly {
		return 0
	}
	return 2
}

// ServerConnections returns how many of the server's connections a worker takes at most; 0 if
// they are those of a pooler, which every worker behind one that cannot listen has.
func (c *Config) ServerConnections() int {
	if c.River.PollOnly {
		return 0
	}
	return c.Database.MaxConns + c.Listeners()
}

// MissingForTokens returns what has to be set before tokens can be refreshed;
// empty for nothing.
func (c *Config) MissingForTokens() string {
	var missing []string
	if c.TokenKeys == nil {
		missing = append(missing, tokenKeysVariable)
	}
	if c.TokensClientSecret == "" {
		missing = append(missing, clientSecretVariable)
	}
	if c.Tokens.ClientID == "" {
		missing = append(missing, "tokens.client_id")
	}
	return strings.Join(missing, ", ")
}

// RefreshesTokens reports whether this process refreshes tokens.
func (c *Config) RefreshesTokens() bool { return c.MissingForTokens() == "" }

// validate checks settings that depend on each other.
func (c *Config) validate() error {
	if c.SoftStop() < time.Second {
		return fmt.Errorf("shutdown.grace (%v) must exceed batching.transaction_timeout (%v) by at least 3s: a transaction under way has to end within it",
			c.Shutdown.Grace, c.Batching.TransactionTimeout)
	}
	if c.RefreshesTokens() && c.SoftStop() < c.Tokens.HTTPTimeout {
		return fmt.Errorf("shutdown.grace (%v) must exceed tokens.http_timeout (%v) by batching.transaction_timeout (%v) and 2s: who is being refreshed at SIGTERM has to be stored within it",
			c.Shutdown.Grace, c.Tokens.HTTPTimeout, c.Batching.TransactionTimeout)
	}
	return nil
}
